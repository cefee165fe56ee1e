package scan

import "encoding/binary"

// Members finds the members of a struct that matter. It is made once, and never changes.
type Members struct {
	names []string
	index []uint8 // by hash: one more than the slot, 0 for none; what collides stands behind
	mask  uint64
}

// maxNames bounds a table, so that a slot fits a byte.
const maxNames = 255

// NewMembers is a table of up to 255 distinct names. The slot of a name is its place among them.
func NewMembers(names ...string) *Members {
	if len(names) > maxNames {
		panic("scan: a table of more than 255 names") // a mistake in the program
	}
	size := 16
	for size < 4*len(names) {
		size *= 2
	}
	t := &Members{names: names, index: make([]uint8, size), mask: uint64(size - 1)}
	for slot, name := range names {
		at := hash([]byte(name))
		for t.index[at&t.mask] != 0 {
			at++
		}
		t.index[at&t.mask] = uint8(slot + 1)
	}
	return t
}

// slot is that of a name, or -1.
func (t *Members) slot(name []byte) int {
	for at := hash(name); ; at++ {
		n := t.index[at&t.mask]
		if n == 0 {
			return -1
		}
		if t.names[n-1] == string(name) {
			return int(n - 1)
		}
	}
}

// hash mixes a name's length with its first and last eight bytes.
func hash(name []byte) uint64 {
	var first, last uint64
	if n := len(name); n >= 8 {
		first, last = binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	} else {
		for _, c := range name {
			first = first<<8 | uint64(c)
		}
	}
	h := (first+uint64(len(name)))*0x9e3779b97f4a7c15 ^ last*0xc2b2ae3d27d4eb4f
	return (h ^ h>>32) * 0x9e3779b97f4a7c15 >> 40
}

// note puts down where a member is that the table names. The first of one name counts.
func (t *Members) note(name []byte, v span, spans []span) {
	if slot := t.slot(name); slot >= 0 && spans[slot].kind == Invalid {
		spans[slot] = v
	}
}

// Record is one struct, walked once: where it is, and where the members of its table are. It is used
// again and again.
type Record struct {
	Name []byte // what it is a member under, still escaped; nil for an item of an array

	table *Members
	spans []span
	b     []byte // what the spans are places in
	whole span
}

// NewRecord is a record for structs with the members of a table.
func NewRecord(t *Members) *Record {
	return &Record{table: t, spans: make([]span, len(t.names))}
}

// Parse walks the struct v. The record looks into the same bytes.
func (r *Record) Parse(v Value) error {
	r.reset(nil, v.body)
	if v.kind != Struct {
		return v.not(Struct)
	}
	r.whole = span{to: int32(len(v.body)), kind: Struct}
	for i := skipMisc(r.b, 0); i < len(r.b); i = skipMisc(r.b, i) {
		name, value, next, err := readMember(r.b, i, 0)
		if err != nil {
			return err
		}
		r.table.note(name, value, r.spans)
		i = next
	}
	return nil
}

func (r *Record) reset(name, b []byte) {
	r.Name, r.b, r.whole = name, b, span{}
	clear(r.spans)
}

// Value is the member in a slot; the zero Value where there is none. Of a damaged record it is a member
// in front of the damage.
func (r *Record) Value(slot int) Value {
	s := r.spans[slot]
	if s.kind == Invalid {
		return Value{}
	}
	return s.of(r.b)
}

// Whole is the struct itself; the zero Value for one that is damaged.
func (r *Record) Whole() Value { return r.whole.of(r.b) }
