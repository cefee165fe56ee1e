package scan

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"
)

// Damage is an error of one item of a document. Those around it are not affected.
type Damage struct{ Err error }

func (d *Damage) Error() string { return d.Err.Error() }

// Unwrap is the cause.
func (d *Damage) Unwrap() error { return d.Err }

var (
	errCutOff = errors.New("the document is cut off")
	errFollow = errors.New("something follows the root element")
	errNoRoot = errors.New("a document without a root element")
	errBroken = errors.New("too much of the document is damaged")
)

const (
	// patience is how many bytes may be looked at in vain: where a damaged item ends is looked for in
	// what follows, and a hostile document could have that done again and again. Each byte that was
	// read well adds to it.
	firstPatience   = 64 << 20
	patiencePerByte = 8
	// maxResume bounds how many end tags are tried to find a damaged item's own.
	maxResume = 8
	// normalWindow is the window on a Normal, to begin with.
	normalWindow = 64 << 10
)

// Document reads an XML document that is the text of a string, item by item, as it arrives. Items are
// the elements of one name directly inside the root, or the root itself.
//
// It works on the string as oned and nearly everybody escapes it: <, > and & of the document are &lt;,
// &gt; and &amp;. Where it meets another way (a CDATA section around it, &#60;), it goes on through a
// [Normal], which brings the rest into this form.
type Document struct {
	w          *Window // what is walked: the stream, or what a Normal makes of it
	alone      bool    // w shows nothing but the document
	normal     bool    // w is on a Normal
	root, name string  // root is "" where the root is the item
	walk       walker
	item       Item
	used       int   // bytes of the window that the last item has
	skip       bool  // the last item is longer than the window: the rest of it has to go
	sealed     bool  // inside a CDATA section of that rest
	begun      bool  // what stands before the items has been read
	last       bool  // no more items come
	ended      error // what every further Next gives
	failed     error // of the stream
	patience   int64
}

// NewDocument reads the document that w begins with. path names the items: "VM_POOL/VM" is each VM
// inside VM_POOL, "VM" the root, "" the root whatever its name is. alone says that the stream ends with the document; otherwise the end
// tag of the string follows.
func NewDocument(w *Window, path string, t *Table, alone bool) *Document {
	d := &Document{w: w, alone: alone, walk: walker{table: t}, patience: firstPatience}
	var inside bool
	if d.root, d.name, inside = strings.Cut(path, "/"); inside {
		d.walk.base = 1
	} else {
		d.root, d.name = "", path
	}
	return d
}

// Next gives the next item. With a *[Damage] it gives what is left of a damaged one, and there may be
// more; any other error is the last. At the document's sound end it is io.EOF, and the stream's window
// then shows the end tag that follows; ErrEnds says that the stream ended before.
func (d *Document) Next() (*Item, error) {
	if d.ended != nil {
		return nil, d.ended
	}
	item, err := d.next()
	if _, damaged := errors.AsType[*Damage](err); err != nil && !damaged {
		d.ended = err
	}
	return item, err
}

func (d *Document) next() (*Item, error) {
	if err := d.begin(); err != nil {
		return nil, err
	}
	for {
		d.pass()
		if d.last {
			return nil, d.close()
		}
		if d.root == "" {
			d.last = true
			return d.read()
		}
		if err := d.drop(); err != nil {
			return nil, err
		}
		ends, err := d.seek()
		if err != nil {
			return nil, err
		}
		if ends {
			return nil, d.close()
		}
		item, err := d.read()
		if err != nil || item.is(d.name) {
			return item, err
		}
	}
}

// pass takes the last item out of the window.
func (d *Document) pass() {
	d.w.Advance(d.used)
	d.patience += patiencePerByte * int64(d.used)
	d.used = 0
}

// until looks at the window's bytes, and again at more of them until it comes to an end.
func (d *Document) until(look func(b []byte) (n int, err error)) (n int, err error) {
	for {
		if n, err = look(d.w.Bytes()); err == nil {
			return n, nil
		}
		if err = d.retry(err); err != nil {
			return 0, err
		}
	}
}

// retry takes what ended a look, and gives nil when there is something new to look at.
func (d *Document) retry(err error) error {
	switch {
	case errors.Is(err, ErrEnds):
		switch err = d.w.More(); {
		case err == nil || errors.Is(err, ErrTooLong):
			return err
		case !errors.Is(err, io.EOF):
			d.failed = err
		case d.alone:
			return errOver
		default:
			d.failed = ErrEnds
		}
		return d.failed
	case errors.Is(err, errOdd):
		d.normalize()
		return nil
	}
	return err
}

// normalize goes on through a Normal.
func (d *Document) normalize() {
	limit := d.w.limit
	if d.alone {
		limit *= len(amp) // what is held anyway may grow so much
	}
	d.w = NewWindow(NewNormal(d.w, d.alone), min(len(d.w.buf), normalWindow), limit)
	d.alone, d.normal = true, true
}

// begin reads what stands before the items.
func (d *Document) begin() error {
	if d.begun {
		return nil
	}
	n, err := d.until(d.prolog)
	if err != nil {
		return over(err, errCutOff)
	}
	d.w.Advance(n)
	d.begun = true
	return nil
}

// over is err, or in place of errOver what that means where it was met.
func over(err, meaning error) error {
	if errors.Is(err, errOver) {
		return meaning
	}
	return err
}

// prolog reads up to the root, and its start tag where it is not the item.
func (d *Document) prolog(b []byte) (n int, err error) {
	i, err := misc(b, len(b)-len(Trim(b)))
	if err != nil {
		return i, err
	}
	if !begins(b, i) {
		_, _, err := char(b, i)
		return i, orElse(err, errNoRoot)
	}
	f, nameEnd, next, err := d.walk.long(b, i)
	name := cmp.Or(d.root, d.name)
	switch {
	case err != nil:
		return i, err
	case f == End || name != "" && name != string(b[i+len(lt):nameEnd]):
		return i, errors.New("no " + cmp.Or(name, "XML") + " document")
	case d.root == "":
		return i, nil
	case f == Empty:
		d.last = true
	}
	return next, nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// begins reports whether a tag, or another piece of markup, is at b[i].
func begins(b []byte, i int) bool { return len(b)-i > len(lt) && word4(b, i) == lt4 }

// misc is the place of what follows blanks, comments and processing instructions.
func misc(b []byte, i int) (next int, err error) {
	for {
		for i < len(b) && isSpace(b[i]) {
			i++
		}
		if len(b)-i <= len(lt) {
			return i, short(b, i)
		}
		if b[i] == '<' {
			_, _, err := char(b, i)
			return i, err
		}
		if !bytes.HasPrefix(b[i:], []byte(noteHead)) && !bytes.HasPrefix(b[i:], []byte(piHead)) {
			return i, nil
		}
		if i, err = section(b, i); err != nil {
			return i, err
		}
	}
}

// close reads on from behind the root to the document's end.
func (d *Document) close() error {
	for {
		i, err := misc(d.w.Bytes(), 0)
		switch {
		case err == nil:
			return errFollow
		case errors.Is(err, errOver):
			d.w.Advance(i)
			return io.EOF
		}
		switch err = d.retry(err); {
		case errors.Is(err, errOver) && i < len(d.w.Bytes()):
			return errFollow
		case err != nil:
			return over(err, io.EOF)
		}
	}
}

// seek leaves the next item in front of the window. ends says that the root's end tag came instead,
// which has then been read.
func (d *Document) seek() (ends bool, err error) {
	n, err := d.until(func(b []byte) (int, error) {
		var n int
		n, ends, err = d.between(b)
		return n, err
	})
	if err != nil {
		return false, over(err, errCutOff)
	}
	d.w.Advance(n)
	return ends, nil
}

// between goes over what stands between two items: text, which is nobody's, and comments.
func (d *Document) between(b []byte) (n int, ends bool, err error) {
	for i := 0; ; {
		i = plain(b, i)
		switch {
		case len(b)-i <= len(lt):
			return i, false, short(b, i)
		case b[i] == '<':
			_, _, err := char(b, i)
			return i, false, err
		case b[i] == '&' && !begins(b, i):
			_, size, err := outer(b, i)
			if stops(err) != nil {
				return i, false, err
			}
			i += max(1, size)
		case b[i] != '&':
			i++
		case b[i+4] == '/':
			_, nameEnd, next, err := d.walk.long(b, i)
			if err == nil && string(b[i+len(lt)+1:nameEnd]) == d.root {
				return next, true, nil
			}
			return i, false, stops(err)
		default:
			next, ok, err := leap(b, i)
			if err != nil || !ok {
				return i, false, err
			}
			i = next
		}
	}
}

// stops is err where a look cannot go on for it, and not where it is damage.
func stops(err error) error {
	if errors.Is(err, ErrEnds) || errors.Is(err, errOdd) {
		return err
	}
	return nil
}

// leaps are what is passed over whole: its text must not be taken for tags.
var leaps = [...]struct{ head, mark string }{{cdataHead, "]]"}, {noteHead, "--"}, {piHead, "?"}}

// leapEnd is how long the rest of such a section is, up to its mark and the &gt; behind it; -1 where that
// has not come.
func leapEnd(rest []byte, mark string) (n int, err error) {
	if n = bytes.Index(rest, []byte(mark+gt)); n >= 0 {
		rest = rest[:n]
		n += len(mark) + len(gt)
	}
	if bytes.Contains(rest, []byte(mark+">")) {
		return -1, errOdd
	}
	return n, nil
}

// leap goes over the CDATA section, comment or processing instruction at b[i], whatever is in it; ok
// is false where there is none.
func leap(b []byte, i int) (next int, ok bool, err error) {
	for _, l := range leaps {
		if bytes.HasPrefix([]byte(l.head), b[i:]) {
			return i, true, ErrEnds // it may be one
		}
		if bytes.HasPrefix(b[i:], []byte(l.head)) {
			n, err := leapEnd(b[i+len(l.head):], l.mark)
			if err != nil {
				return i, true, err
			}
			end, err := stringEnd(b, i)
			if n < 0 || end >= 0 && end < i+len(l.head)+n {
				return i, true, orElse(err, ErrEnds)
			}
			return i + len(l.head) + n, true, nil
		}
	}
	return i, false, nil
}

// read reads the item in front of the window.
func (d *Document) read() (*Item, error) {
	n, err := d.until(func(b []byte) (int, error) { return d.walk.element(b, 0) })
	if err == nil {
		return d.take(n), nil
	}
	d.patience -= int64(d.walk.reach)
	switch {
	case d.failed != nil:
		return nil, d.failed
	case d.root == "":
		return nil, over(err, errCutOff)
	case errors.Is(err, ErrTooLong):
		return d.abandon()
	}
	return d.salvage(err)
}

// take hands over the first n bytes of the window.
func (d *Document) take(n int) *Item {
	d.used = n
	d.item.raw, d.item.found = d.w.Bytes()[:n:n], d.walk.found
	return &d.item
}
