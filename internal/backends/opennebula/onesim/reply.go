package onesim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// part is a piece of a reply. Replies are sent after the lock on the data is given back, so nothing in a part changes.
type part interface {
	size() int
	write(sink)
}

// sink is where parts go.
type sink struct{ *bufio.Writer }

// put leaves the error to Flush, which returns the first there was.
func (w sink) put(b []byte) { _, _ = w.Write(b) }

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

// document is the string of a reply that holds XML: objects between an opening and a closing text. Its bytes are escaped
// already, which is what lets a pool of 1 GB be sent from what its VMs have in common.
type document struct {
	open, close string
	entries     []entry
	raw         int  // bytes before they are escaped
	poison      byte // the first byte that xmlrpc-c cannot carry; 0 is none
}

// entry is one VM of a document.
type entry struct {
	id int
	part
}

func (d *document) add(id int, x *row) {
	d.entries = append(d.entries, entry{id, x})
	d.raw += x.rec.raw
	if d.poison == 0 {
		d.poison = x.rec.poison
	}
}

func (d *document) size() int {
	n := escapedLen(d.open) + escapedLen(d.close)
	for _, x := range d.entries {
		n += x.size()
	}
	return n
}

func (d *document) write(w sink) {
	w.put(appendEscaped(w.AvailableBuffer(), d.open))
	for _, x := range d.entries {
		x.write(w)
	}
	w.put(appendEscaped(w.AvailableBuffer(), d.close))
}

func escapedLen(s string) int { return len(appendEscaped(nil, s)) }

// row is a VM's record with what changes by itself put into its two gaps: the time of the last poll, and the last sample.
type row struct {
	rec  *record
	gaps [2][]byte
}

func (x *row) size() int { return x.rec.length + len(x.gaps[0]) + len(x.gaps[1]) }

func (x *row) write(w sink) {
	own := x.rec.own
	for s := range sections {
		if s > 0 {
			w.put(x.gaps[s-1])
		}
		for _, r := range x.rec.runs[x.rec.ends[s]:x.rec.ends[s+1]] {
			w.put(x.rec.base.text[r.from : r.from+r.length])
			w.put(own[:r.own])
			own = own[r.own:]
		}
	}
}

func (x *row) bytes() []byte {
	var b bytes.Buffer
	b.Grow(x.size())
	w := sink{bufio.NewWriter(&b)}
	x.write(w)
	w.Flush() // a bytes.Buffer takes everything
	return b.Bytes()
}

// sections of a record: before, between and after its two gaps.
const sections = 3

// record is one VM as escaped XML, kept as what it has in common with the first of its kind, and what is its own: 100,000
// VMs of 11 kB are alike but for some 600 bytes each.
type record struct {
	base   *base
	runs   []run
	ends   [sections + 1]int // section s is runs[ends[s]:ends[s+1]]
	own    []byte
	length int
	raw    int  // bytes before they were escaped
	poison byte // as in a document
}

// run is so many bytes of the base, followed by so many of the record's own.
type run struct{ from, length, own uint32 }

// base is the first record of a kind.
type base struct {
	text []byte
	ends [sections + 1]int
}

// packer makes records. It is used by one goroutine at a time.
type packer struct {
	bases map[baseKey]*base
	plain []byte // of one record, reused
	text  []byte
	runs  []run
	own   []byte
}

// baseKey tells which records are alike.
type baseKey struct {
	form    *form
	status  status
	history int
}

// maxBases bounds what is kept for the sake of VMs that are like no other.
const maxBases = 512

// pack makes a record of what the three functions append.
func (p *packer) pack(k baseKey, section [sections]func([]byte) []byte) *record {
	var ends [sections + 1]int
	r := &record{}
	p.text, p.runs, p.own = p.text[:0], p.runs[:0], p.own[:0]
	for s, render := range section {
		p.plain = render(p.plain[:0])
		p.text = appendEscaped(p.text, p.plain)
		ends[s+1] = len(p.text)
		r.raw += len(p.plain)
		if i := notPlainAt(p.plain); i >= 0 && r.poison == 0 {
			r.poison = p.plain[i]
		}
	}
	r.length = len(p.text)
	r.base = p.bases[k]
	if r.base == nil {
		r.base = &base{slices.Clone(p.text), ends}
		if len(p.bases) < maxBases {
			p.bases[k] = r.base
		}
	}
	for s := range sections {
		p.compare(r.base.text[:r.base.ends[s+1]], r.base.ends[s], p.text[ends[s]:ends[s+1]])
		r.ends[s+1] = len(p.runs)
	}
	r.runs, r.own = slices.Clone(p.runs), slices.Clone(p.own)
	return r
}

// compare notes text as runs of base from that place on. Where they differ both go on at their next escaped character, as
// what differs between two VMs is the text between two tags.
func (p *packer) compare(base []byte, from int, text []byte) {
	for len(text) > 0 {
		same := common(base[from:], text)
		own, skipped := len(text)-same, len(base)-from-same
		if skipped > 0 {
			own, skipped = nextEscape(text[same:]), nextEscape(base[from+same:])
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

func nextEscape(b []byte) int {
	if i := bytes.IndexByte(b, '&'); i >= 0 {
		return i
	}
	return len(b)
}
