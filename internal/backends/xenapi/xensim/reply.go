package xensim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
)

// part is a piece of a reply. Replies are sent after the mutex is given back, so nothing in a part changes. It is also a
// value of the API: one that is XML already, with neither <value> around it.
type part interface {
	size() int
	write(sink)
}

// sink is where parts go.
type sink struct{ *bufio.Writer }

// put leaves the error to Flush, which returns the first there was.
func (w sink) put(b []byte) { _, _ = w.Write(b) }

func (w sink) text(s string) { _, _ = w.WriteString(s) }

type literal []byte

func (b literal) size() int { return len(b) }

func (b literal) write(w sink) { w.put(b) }

type parts []part

func (p parts) size() int {
	n := 0
	for _, x := range p {
		n += x.size()
	}
	return n
}

func (p parts) write(w sink) {
	for _, x := range p {
		x.write(w)
	}
}

// padding is so many letters x.
type padding int

func (n padding) size() int { return int(n) }

func (n padding) write(w sink) {
	block := bytes.Repeat([]byte{'x'}, min(int(n), 64<<10))
	for left := int(n); left > 0; left -= len(block) {
		w.put(block[:min(left, len(block))])
	}
}

func bytesOf(p part) []byte {
	var b bytes.Buffer
	b.Grow(p.size())
	w := sink{bufio.NewWriter(&b)}
	p.write(w)
	w.Flush() // a bytes.Buffer takes everything
	return b.Bytes()
}

// listing is a struct of records by reference, as get_all_records returns it.
type listing []listed

type listed struct {
	ref, uuid string
	part
}

const (
	listedHead   = "<member><name>"
	listedMiddle = "</name><value>"
	listedTail   = "</value></member>"
	structHead   = "<struct>"
	structTail   = "</struct>"
)

func (l listing) size() int {
	n := len(structHead) + len(structTail) + len(l)*(len(listedHead)+len(listedMiddle)+len(listedTail))
	for _, x := range l {
		n += len(x.ref) + x.part.size()
	}
	return n
}

func (l listing) write(w sink) {
	w.text(structHead)
	for _, x := range l {
		w.text(listedHead)
		w.text(x.ref) // has nothing to escape
		w.text(listedMiddle)
		x.part.write(w)
		w.text(listedTail)
	}
	w.text(structTail)
}

// row is an object's record as XML, kept as what it has in common with another one like it, and what is its own: 100,000 VMs
// of nearly 9 kB are alike but for less than 2 kB each.
type row struct {
	uuid   string
	made   stamp
	seen   int64 // the generation in which it was true for certain
	base   []byte
	runs   []run
	own    []byte
	length int
}

// run is so many bytes of the base, followed by so many of the row's own.
type run struct{ from, length, own uint32 }

func (r *row) size() int { return r.length }

func (r *row) write(w sink) {
	own := r.own
	for _, x := range r.runs {
		w.put(r.base[x.from : x.from+x.length])
		w.put(own[:x.own])
		own = own[x.own:]
	}
}

// stamp tells whether a row is still true: when its object changed last, and the others that its fields follow from.
type stamp struct{ own, others int64 }

// packer makes rows. The Server's mutex guards it.
type packer struct {
	bases map[baseKey][]byte
	text  []byte // of one record, reused
	runs  []run
	own   []byte
}

// baseKey tells which records are alike: of one class and state, with the same number of tags.
type baseKey struct {
	class *class
	state string
	tags  int
}

// maxBases bounds what is kept for the sake of objects that are like no other.
const maxBases = 512

// rowOf is an object's record, as it is or as it was made before.
func (s *Server) rowOf(o *object) *row {
	if o.row != nil && o.row.seen >= o.class.table.sourcesLatest() {
		return o.row
	}
	made := s.stampOf(o)
	if o.row != nil && o.row.made == made {
		o.row.seen = s.db.generation
		return o.row
	}
	r := s.packer.pack(o, s.appendRecord(s.packer.text[:0], o))
	r.uuid, r.made, r.seen = o.uuid(), made, s.db.generation
	if o.class.name == "task" { // whose progress follows from the time
		return r
	}
	o.row = r
	return r
}

func (p *packer) pack(o *object, text []byte) *row {
	p.text = text
	key := baseKey{o.class, o.powerState(), bytes.Count(text, []byte{'<'})}
	base := p.bases[key]
	if base == nil {
		base = slices.Clone(text)
		if len(p.bases) < maxBases {
			p.bases[key] = base
		}
	}
	p.runs, p.own = p.runs[:0], p.own[:0]
	p.compare(base, text)
	return &row{base: base, runs: slices.Clone(p.runs), own: slices.Clone(p.own), length: len(text)}
}

// compare notes text as runs of base. Where they differ both go on at their next tag, as what differs between two objects is
// the text between two tags.
func (p *packer) compare(base, text []byte) {
	for from := 0; len(text) > 0; {
		same := common(base[from:], text)
		own, skipped := len(text)-same, len(base)-from-same
		if skipped > 0 {
			own, skipped = nextTag(text[same:]), nextTag(base[from+same:])
		}
		p.runs = append(p.runs, run{uint32(from), uint32(same), uint32(own)})
		p.own = append(p.own, text[same:same+own]...)
		text = text[same+own:]
		from += same + skipped
	}
}

// common is the length of the longest common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

func nextTag(b []byte) int {
	if i := bytes.IndexByte(b, '<'); i >= 0 {
		return i
	}
	return len(b)
}

// sources are the classes whose objects a record of the class follows from, beside its own; stampOf and fieldOf tell how.
func sources() map[string][]string {
	return map[string][]string{
		"VM": {"VM_guest_metrics", "VM_appliance"}, "VBD": {"VM", "VM_guest_metrics"}, "VIF": {"VM", "VM_guest_metrics"}, "VDI": {"SR", "VBD"},
	}
}

// stampOf looks at everything that fieldOf does.
func (s *Server) stampOf(o *object) stamp {
	made := stamp{own: o.modified}
	also := func(class, ref string) *object {
		x := s.db.find(class, ref)
		if x != nil {
			made.others += x.modified
		}
		return x
	}
	switch o.class.name {
	case "VM":
		also("VM_guest_metrics", o.str("guest_metrics"))
		also("VM_appliance", o.str("appliance"))
	case "VBD", "VIF":
		if vm := also("VM", o.str("VM")); vm != nil {
			also("VM_guest_metrics", vm.str("guest_metrics"))
		}
	case "VDI":
		also("SR", o.str("SR"))
		for _, ref := range o.strs("VBDs") {
			also("VBD", ref)
		}
	}
	return made
}

// apply does to the records in a value what was ordered.
func (l *List) apply(v any) any {
	switch v := v.(type) {
	case *row:
		return l.spoil(v.uuid, v)
	case listing:
		return l.arrange(v)
	case record: // an event, or the batch of them
		out := slices.Clone(v)
		for i := range out {
			out[i].Value = l.apply(out[i].Value)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = l.apply(out[i])
		}
		return out
	}
	return v
}

func (l *List) arrange(list listing) listing {
	if l.Empty {
		return nil
	}
	if l.Reversed {
		slices.Reverse(list)
	}
	for i := 1; l.Swapped && i < len(list); i += 2 {
		list[i-1], list[i] = list[i], list[i-1]
	}
	for _, uuid := range l.Twice {
		if i := slices.IndexFunc(list, func(x listed) bool { return x.uuid == uuid }); i >= 0 {
			list = append(list, list[i])
		}
	}
	for i, x := range list {
		list[i].part = l.spoil(x.uuid, x.part)
	}
	return list
}

func (l *List) spoil(uuid string, p part) part {
	bad, damaged := l.Damaged[uuid]
	n, padded := l.Padded[uuid]
	if damaged {
		p = insert(p, "<name>name_label</name><value>", literal(bad))
	}
	if padded {
		p = insert(p, "<name>other_config</name><value><struct>", parts{
			literal("<member><name>padding</name><value>"), padding(n), literal("</value></member>")})
	}
	return p
}

// insert puts more behind the first place where text stands.
func insert(p part, text string, more part) part {
	switch p := p.(type) {
	case *row:
		return insert(literal(bytesOf(p)), text, more)
	case parts:
		last := len(p) - 1
		return append(slices.Clone(p[:last]), insert(p[last], text, more))
	case literal:
		if before, _, ok := strings.Cut(string(p), text); ok {
			at := len(before) + len(text)
			return parts{p[:at], more, p[at:]}
		}
	}
	return p
}
