package scan

import (
	"bytes"
	"errors"
)

// abandon hands over the beginning of an item that is longer than the window may be. It stays in the
// window: where it ends is looked for from its beginning on.
func (d *Document) abandon() (*Item, error) {
	d.skip = true
	item := d.take(len(d.w.Bytes()))
	d.used = len(lt)
	return item, &Damage{ErrTooLong}
}

// salvage hands over a damaged item: it looks for its end.
func (d *Document) salvage(cause error) (*Item, error) {
	damage := &Damage{errorAt(over(cause, errCutOff), int(d.w.Offset())+d.walk.reach)}
	for whole := false; ; {
		n, err := d.resume(d.w.Bytes(), whole)
		if err == nil {
			return d.take(n), damage
		}
		odd := errors.Is(err, errOdd)
		switch err = d.retry(err); {
		case errors.Is(err, errOver) && !whole:
			whole = true
		case errors.Is(err, ErrTooLong):
			return d.abandon()
		case err != nil:
			return nil, over(err, errCutOff)
		case odd:
			return d.read()
		}
	}
}

// resume finds where the damaged item in front of b ends: at the first end tag of its name that is
// followed by another element of that name, or by nothing; or else, at the first. whole says that b
// ends where the document does.
func (d *Document) resume(b []byte, whole bool) (n int, err error) {
	if end, err := stringEnd(b, 0); errors.Is(err, errOver) {
		b, whole = b[:end], true
	} else if err != nil {
		return 0, err
	}
	r := rest{b: b, whole: whole, root: d.root}
	n, err = r.itemEnd()
	if err == nil && bytes.Contains(b[:n], []byte("&#")) && !d.normal {
		return 0, errOdd // it may be a tag
	}
	if d.patience -= int64(r.i); d.patience < 0 {
		d.failed = errBroken
		return 0, errBroken
	}
	return n, err
}

// stringEnd is the place of the string's end tag in b[i:], with errOver; -1 where it has not come.
func stringEnd(b []byte, i int) (int, error) {
	n := bytes.IndexByte(b[i:], '<')
	if n < 0 || i+n+1 == len(b) {
		return -1, nil
	}
	_, _, err := char(b, i+n)
	return i + n, err
}

// rest is what follows the beginning of a damaged item.
type rest struct {
	b     []byte
	i     int
	whole bool // b ends where the document does
	root  string
	open  [len(leaps)]bool // no end of such a section is ahead, which keeps the search for it linear
}

// itemEnd looks for the end of the item that b begins with. ErrEnds says that it takes more of b.
func (r *rest) itemEnd() (n int, err error) {
	var w walker
	f, nameEnd, next, err := w.long(r.b, 0)
	if err != nil && stops(err) != nil && !r.whole {
		return 0, err
	}
	if r.i = len(lt); err != nil || f == End {
		// Nothing is known but that something is wrong up to the next tag.
		return r.next()
	}
	name := string(r.b[len(lt):nameEnd])
	r.i = next
	for first, tried := 0, 0; ; {
		if r.i, err = r.tag(); err != nil {
			return 0, err
		}
		switch n, fresh, err := r.endTag(name); {
		case err != nil:
			return 0, err
		case fresh:
			return n, nil
		case n > 0:
			if tried++; tried == 1 {
				first = n
			}
			if tried == maxResume {
				return first, nil
			}
			r.i = n
		default:
			closes, err := r.closes()
			if err != nil {
				return 0, err
			}
			if closes && first == 0 {
				first = r.i
			}
			if closes {
				return first, nil
			}
			r.i += len(lt)
		}
	}
}

// next is the place of the next tag.
func (r *rest) next() (int, error) {
	n := bytes.Index(r.b[r.i:], []byte(lt))
	switch {
	case n >= 0:
		return r.i + n, nil
	case r.whole:
		return 0, errCutOff
	}
	return 0, ErrEnds
}

// tag is the place of the next tag that is not inside a CDATA section or a comment.
func (r *rest) tag() (i int, err error) {
	for {
		if r.i, err = r.next(); err != nil {
			return 0, err
		}
		skipped, err := r.leap()
		if err != nil || !skipped {
			return r.i, err
		}
	}
}

// leap goes over a CDATA section or a comment. One without an end is none.
func (r *rest) leap() (skipped bool, err error) {
	for k, l := range leaps {
		if !r.whole && bytes.HasPrefix([]byte(l.head), r.b[r.i:]) {
			return false, ErrEnds // it may be one
		}
		if r.open[k] || !bytes.HasPrefix(r.b[r.i:], []byte(l.head)) {
			continue
		}
		n, err := leapEnd(r.b[r.i+len(l.head):], l.mark)
		switch {
		case err != nil:
			return false, err
		case n >= 0:
			r.i += len(l.head) + n
			return true, nil
		case !r.whole:
			return false, ErrEnds
		}
		r.open[k] = true
	}
	return false, nil
}

// endTag is the place after the end tag at i, if it is one of that name; fresh says that an element of
// that name, or nothing, is next.
func (r *rest) endTag(name string) (n int, fresh bool, err error) {
	n, err = r.named("/" + name)
	if n == 0 || err != nil {
		return 0, false, err
	}
	behind := rest{b: r.b, i: n, whole: r.whole, root: r.root}
	if behind.i, err = behind.next(); err != nil {
		return 0, false, err
	}
	begun, err := behind.named(name)
	if begun > 0 || err != nil {
		return n, begun > 0, err
	}
	fresh, err = behind.closes()
	return n, fresh, err
}

// named is the place after the tag at i, if that is its name, and otherwise 0.
func (r *rest) named(name string) (n int, err error) {
	b := r.b[r.i+len(lt):]
	switch {
	case len(b) <= len(name) && !r.whole:
		return 0, ErrEnds
	case len(b) <= len(name) || string(b[:len(name)]) != name || wordByte[b[len(name)]]:
		return 0, nil
	}
	k := bytes.Index(b, []byte(gt))
	switch {
	case k >= 0:
		return r.i + len(lt) + k + len(gt), nil
	case r.whole:
		return 0, nil
	}
	return 0, ErrEnds
}

// closes reports whether the root's end tag is at i, and nothing behind it.
func (r *rest) closes() (bool, error) {
	n, err := r.named("/" + r.root)
	switch {
	case n == 0 || err != nil || len(bytes.TrimSpace(r.b[n:])) > 0:
		return false, err
	case !r.whole:
		return false, ErrEnds
	}
	return true, nil
}

// drop passes over what is left of an item that was abandoned, without holding it.
func (d *Document) drop() error {
	if !d.skip {
		return nil
	}
	for whole := false; ; {
		n, done, err := d.remains(d.w.Bytes(), whole)
		d.w.Advance(n)
		if done {
			d.skip, d.sealed = false, false
			return nil
		}
		if whole {
			return orElse(err, errCutOff)
		}
		if err = d.retry(orElse(err, ErrEnds)); errors.Is(err, errOver) {
			whole = true
		} else if err != nil {
			return err
		}
	}
}

// remains is how much of b belongs to an abandoned item for certain, and whether that is all of it: an
// end tag of its name is followed by the start of another one, or by the root's end.
func (d *Document) remains(b []byte, whole bool) (n int, done bool, err error) {
	if end, err := stringEnd(b, 0); errors.Is(err, errOver) {
		b, whole = b[:end], true
	} else if err != nil {
		return 0, false, err
	}
	r := rest{b: b, whole: whole, root: d.root}
	for {
		mark, size := lt, 0
		if d.sealed {
			mark, size = "]]"+gt, len("]]"+gt)
		}
		k := bytes.Index(b[r.i:], []byte(mark))
		if k < 0 {
			return max(r.i, len(b)-len("]]"+gt)), false, nil
		}
		r.i += k + size
		if d.sealed {
			d.sealed = false
			continue
		}
		if bytes.HasPrefix(b[r.i:], []byte(cdataHead)) {
			d.sealed = true
			r.i += len(cdataHead)
			continue
		}
		next, fresh, err := r.endTag(d.name)
		switch {
		case err != nil:
			return r.i, false, err
		case fresh:
			return next, true, nil
		}
		if closes, err := r.closes(); closes || err != nil {
			return r.i, closes, err
		}
		if len(b)-r.i < len(cdataHead) && !whole {
			return r.i, false, ErrEnds
		}
		r.i += len(lt)
	}
}
