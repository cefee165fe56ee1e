package scan

import "strings"

// Table says which elements of a record are looked for, by their paths below it. Its slots are the
// paths' places in the list that it was made of.
type Table struct{ top *node }

// NewTable makes a table of paths:
//
//	TEMPLATE/CPU      a leaf, every time it occurs
//	TEMPLATE/DISK/    an element that may occur again: noted in front of what is found inside it
//	USER_TEMPLATE/*   each leaf directly inside that has no path of its own
//	TEMPLATE/**       each element inside, down to the last level, that has no path of its own: noted in
//	                  front of what is found inside it, or as a leaf where there is no element in it
func NewTable(paths []string) *Table {
	t := &Table{top: newNode("")}
	for slot, path := range paths {
		n := t.top
		names := strings.Split(path, "/")
		last := len(names) - 1
		for _, name := range names[:last] {
			n = n.make(name)
		}
		switch names[last] {
		case "":
			n.group = int32(slot)
		case "*":
			n.any = int32(slot)
		case "**":
			n.rest = newNode("")
			n.rest.group, n.rest.rest = int32(slot), n.rest
		default:
			n.make(names[last]).leaf = int32(slot)
		}
	}
	return t
}

// none is the slot of what nobody asked for.
const none = -1

// node is an element of the table's tree.
type node struct {
	name             string
	kids             []*node
	mask             uint64 // the kids' hashes, one bit each: most names are told apart by it alone
	leaf, group, any int32  // slots: of its text, of itself, of the leaves inside
	rest             *node  // all kids that have no path of their own; nil where they do not matter
}

func newNode(name string) *node {
	return &node{name: name, leaf: none, group: none, any: none}
}

func (n *node) make(name string) *node {
	if k := n.find([]byte(name)); k != n.rest {
		return k
	}
	k := newNode(name)
	n.kids = append(n.kids, k)
	n.mask |= bit([]byte(name))
	return k
}

// find is the kid of that name.
func (n *node) find(name []byte) *node {
	if n.mask&bit(name) == 0 {
		return n.rest
	}
	for _, k := range n.kids {
		if k.name == string(name) {
			return k
		}
	}
	return n.rest
}

// bit is a name's hash. Names are never empty.
func bit(name []byte) uint64 {
	return 1 << ((uint(name[0]) + uint(name[len(name)-1])<<1 + uint(len(name))*7) & 63)
}
