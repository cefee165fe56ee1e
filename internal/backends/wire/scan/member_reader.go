package scan

import (
	"bytes"
	"errors"
	"io"
)

// Reader goes through an XML-RPC reply while it arrives, and keeps no more of it than one record. It
// is told what to expect: [Reader.Begin], then [Reader.Enter] for each container on the way, in which
// [Reader.Member] names what comes and [Reader.Value] or Enter takes it, or [Reader.Next] takes whole
// records; at last [Reader.End].
//
// What it gives is good until its next step. Its errors wrap ErrEnds where the reply ends early, and
// are those of the stream where that fails; after them there are no more steps.
type Reader struct {
	w      *Window
	prefix string
	open   []container
	fault  bool
	lost   bool // somewhere inside a record that could not be walked
	ended  bool // the reply's end was found, and no container's
}

// container is a struct or array that was entered.
type container struct {
	kind  Kind
	begun bool // a member was begun, whose end tag is still to come
	done  bool // its end was read with its start
}

// NewReader reads the reply that w shows. Records of a struct, and nothing else in a reply, are
// structs under names that begin with prefix: that is how the next one is found behind one that
// cannot be walked. Without a prefix such a record is the end.
func NewReader(w *Window, prefix string) *Reader { return &Reader{w: w, prefix: prefix} }

// Begin reads up to the reply's one value, and reports whether it is a fault's.
func (r *Reader) Begin() (fault bool, err error) {
	err = r.step(func(b []byte) (next int, err error) {
		next, r.fault, err = readHead(b)
		return next, err
	})
	return r.fault, err
}

// End reads from behind the reply's value to the end of the stream.
func (r *Reader) End() error {
	if !r.ended {
		if err := r.step(func(b []byte) (int, error) { return expectEnds(b, 0, around(r.fault)...) }); err != nil {
			return err
		}
	}
	for {
		b := r.w.Bytes()
		r.w.Advance(skipMisc(b, 0))
		rest := len(r.w.Bytes())
		switch err := r.w.More(); {
		case errors.Is(err, io.EOF) && rest == 0:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, ErrTooLong):
			return errFollows
		case err != nil:
			return err
		}
	}
}

// expectEnds reads end tags, one after the other.
func expectEnds(b []byte, i int, names ...string) (next int, err error) {
	for _, name := range names {
		if i, err = expectEnd(b, i, name); err != nil {
			return i, err
		}
	}
	return i, nil
}

// Enter goes into the struct or array that is the next value, and tells which it is.
func (r *Reader) Enter() (Kind, error) {
	var c container
	err := r.step(func(b []byte) (i int, err error) {
		c, i, err = enter(b)
		return i, err
	})
	if err == nil {
		r.open = append(r.open, c)
	}
	return c.kind, err
}

func enter(b []byte) (c container, next int, err error) {
	i, err := Expect(b, 0, "value", Start)
	if err != nil {
		return c, i, err
	}
	i = skipMisc(b, i)
	name, f, i, err := tagAt(b, i)
	switch {
	case err != nil:
		return c, i, err
	case string(name) == "struct" && f != End:
		c.kind = Struct
	case string(name) == "array" && f == Start:
		c.kind = Array
		i = skipMisc(b, i)
		if name, f, i, err = tagAt(b, i); err == nil && (string(name) != "data" || f == End) {
			err = errors.New("no <data")
		}
	default:
		err = errors.New("neither a struct nor an array")
	}
	if err == nil && f == Empty {
		c.done = true
		i, err = expectEnds(b, i, c.closing()[1:]...)
	}
	return c, i, err
}

// closing are the end tags of a container that is a value.
func (c container) closing() []string {
	if c.kind == Array {
		return []string{"data", "array", "value"}
	}
	return []string{"struct", "value"}
}

// Member reads the next member's name, up to its value. At the struct's end, which it reads too, it is
// not ok.
func (r *Reader) Member() (name string, ok bool, err error) {
	c := r.inside()
	if c == nil || c.done {
		r.leave()
		return "", false, nil
	}
	err = r.step(func(b []byte) (i int, err error) {
		if c.begun {
			if i, err = expectEnd(b, 0, "member"); err != nil {
				return i, err
			}
		}
		if i = skipMisc(b, i); endsAt(b, i) {
			ok = false
			return expectEnds(b, i, c.closing()...)
		}
		raw, i, err := readName(b, i)
		if err != nil {
			return i, err
		}
		text, err := resolved(raw)
		name, ok = string(text), true
		return i, err
	})
	if err != nil {
		return "", false, err
	}
	if c.begun = ok; !ok {
		r.leave()
	}
	return name, ok, nil
}

// inside is the container that the reader is in; nil for none.
func (r *Reader) inside() *container {
	if len(r.open) == 0 {
		return nil
	}
	return &r.open[len(r.open)-1]
}

// leave goes out of the container, if there is one.
func (r *Reader) leave() { r.open = r.open[:max(0, len(r.open)-1)] }

// Value reads the next value whole.
func (r *Reader) Value() (v Value, err error) {
	err = r.step(func(b []byte) (int, error) {
		s, next, err := readValue(b, 0, 0)
		if err == nil {
			v = s.of(b)
		}
		return next, err
	})
	return v, err
}

// step walks what the window shows, with more of it where it ends too early, and goes on behind it.
func (r *Reader) step(walk func(b []byte) (next int, err error)) error {
	for {
		next, err := walk(r.w.Bytes())
		if err == nil {
			r.w.Advance(next)
			return nil
		}
		if err := r.more(err); err != nil {
			return err
		}
	}
}

// more shows more of the stream when err is that what is shown ends early, and otherwise gives the
// error back.
func (r *Reader) more(err error) error {
	if !errors.Is(err, ErrEnds) {
		return err
	}
	if more := r.w.More(); !errors.Is(more, io.EOF) {
		return more
	}
	return err
}

// Next reads the next record: a member of a struct, or an item of an array, that is a struct itself. At
// the end, which it reads too, it is not ok, and neither with an error that is the end of all. With ok
// an error is one of this record alone, which then has what stood in front of the damage.
func (r *Reader) Next(rec *Record) (ok bool, err error) {
	rec.reset(nil, nil)
	if r.lost {
		if ok, err := r.find(); !ok || err != nil {
			return false, err
		}
	}
	c := r.inside()
	if c == nil || c.done {
		r.leave()
		return false, nil
	}
	for {
		b := r.w.Bytes()
		i := skipMisc(b, 0)
		if endsAt(b, i) {
			if i, err = expectEnds(b, i, c.closing()...); err == nil {
				r.w.Advance(i)
				r.leave()
				return false, nil
			}
		} else if i, err = rec.read(b, i, c.kind == Struct); err == nil {
			r.w.Advance(i)
			return true, nil
		}
		switch more := r.more(err); {
		case more == nil:
		case errors.Is(err, ErrEnds) && !errors.Is(more, ErrTooLong), c.kind != Struct || r.prefix == "":
			return false, more
		default: // it is damaged, or too long
			r.lost = true
			r.w.Advance(min(1, len(b)))
			return true, more
		}
	}
}

// read walks the record at b[i].
func (r *Record) read(b []byte, i int, member bool) (next int, err error) {
	r.reset(nil, b)
	if member {
		if r.Name, i, err = readName(b, i); err != nil {
			return i, err
		}
	}
	const plain = "<value><struct>"
	if len(b)-i > len(plain) && string(b[i:i+len(plain)]) == plain {
		i += len(plain)
	} else {
		if i, err = Expect(b, i, "value", Start); err != nil {
			return i, err
		}
		if i, err = Expect(b, i, "struct", Start); err != nil {
			return i, err
		}
	}
	whole, i, err := readStruct(b, i, 0, r.table, r.spans)
	if err != nil {
		return i, err
	}
	r.whole = whole
	if i, err = expectEnd(b, i, "value"); err == nil && member {
		i, err = expectEnd(b, i, "member")
	}
	return i, err
}

// find goes to the next record of a struct from within one that could not be walked. Where there is
// none it goes behind the reply's end, and is not ok. CDATA sections and comments are passed over
// whole: a text must not be able to begin a record.
func (r *Reader) find() (ok bool, err error) {
	for {
		i := bytes.IndexByte(r.w.Bytes(), '<')
		if i < 0 {
			i = len(r.w.Bytes())
		}
		r.w.Advance(i)
		b := r.w.Bytes()
		var begins, ends bool
		if begins, ends, err = r.landmark(b); err != nil {
			switch more := r.more(err); {
			case more == nil:
				continue
			case !errors.Is(err, ErrEnds) || errors.Is(more, ErrTooLong): // no landmark, only more damage
			default:
				return false, more
			}
		}
		switch {
		case begins:
			r.lost = false
			return true, nil
		case ends:
			r.w.Advance(bytes.IndexByte(b, '>') + 1)
			r.open, r.lost, r.ended = nil, false, true
			return false, nil
		}
		if err := r.over(b); err != nil {
			return false, err
		}
	}
}

// landmark looks whether a record begins at b[0], or the reply ends.
func (r *Reader) landmark(b []byte) (begins, ends bool, err error) {
	switch {
	case len(b) < len(cdataOpen):
		return false, false, ErrEnds
	case b[1] == '!' || b[1] == '?':
		return false, false, nil
	}
	tag, f, _, err := readTag(b, 0)
	switch {
	case err != nil:
		return false, false, err
	case f == End:
		return false, string(tag) == "methodResponse", nil
	case string(tag) != "member":
		return false, false, nil
	}
	name, i, err := readName(b, 0)
	if err != nil || !bytes.HasPrefix(name, []byte(r.prefix)) {
		return false, false, err
	}
	if i, err = Expect(b, i, "value", Start); err != nil {
		return false, false, err
	}
	tag, _, _, err = tagAt(b, skipMisc(b, i))
	return err == nil && string(tag) == "struct", false, err
}

// over goes over the section at b[0], however long it is, or else over its first byte.
func (r *Reader) over(b []byte) error {
	for _, s := range [...]struct{ open, end []byte }{{cdataOpen, cdataClose}, {commentOpen, commentClose}} {
		if !bytes.HasPrefix(b, s.open) {
			continue
		}
		r.w.Advance(len(s.open))
		for {
			b := r.w.Bytes()
			if i := bytes.Index(b, s.end); i >= 0 {
				r.w.Advance(i + len(s.end))
				return nil
			}
			r.w.Advance(max(0, len(b)-len(s.end)+1))
			if err := r.more(ErrEnds); err != nil {
				return err
			}
		}
	}
	r.w.Advance(min(1, len(b)))
	return nil
}
