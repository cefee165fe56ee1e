package scan

import (
	"errors"
	"io"
)

// ErrTooLong says that what a window has to show at once is more than it may hold.
var ErrTooLong = errors.New("longer than the limit")

// minWindow is the smallest buffer of a window.
const minWindow = 512

// Window is the part of a stream that is looked at: one contiguous slice, which begins where
// [Window.Advance] has left it and grows at its end by [Window.More]. What has been passed is
// forgotten, so memory is bounded by the window however long the stream is.
type Window struct {
	r      io.Reader
	buf    []byte
	lo, hi int // Bytes is buf[lo:hi]
	limit  int
	passed int64 // what was advanced over
	err    error // of the stream, to be told once all bytes are read
}

// NewWindow is a window on r. It begins with a buffer of size bytes, and lets it grow to limit where
// that much has to be seen at once.
func NewWindow(r io.Reader, size, limit int) *Window {
	size = max(size, minWindow)
	return &Window{r: r, buf: make([]byte, size), limit: max(limit, size)}
}

// Whole is a window that shows all of b, and never more.
func Whole(b []byte) *Window {
	return &Window{buf: b, hi: len(b), limit: len(b), err: io.EOF}
}

// Bytes is what the window shows. It is good until the next call of More.
func (w *Window) Bytes() []byte { return w.buf[w.lo:w.hi:w.hi] }

// Offset is where in the stream Bytes begins.
func (w *Window) Offset() int64 { return w.passed }

// Advance takes the first n bytes out of the window; n is at most len(Bytes()).
func (w *Window) Advance(n int) {
	if n < 0 || n > w.hi-w.lo {
		panic("scan: advanced out of the window") // a mistake of the caller, whatever was sent
	}
	w.lo += n
	w.passed += int64(n)
}

// More shows more of the stream, or says why there is no more: io.EOF, ErrTooLong, or the stream's
// own error. Where it can it doubles what is shown, so that looking again from the start each time
// costs no more than twice the bytes.
func (w *Window) More() error {
	if w.err != nil {
		return w.err
	}
	shown := w.hi - w.lo
	if shown >= w.limit {
		return ErrTooLong
	}
	w.makeRoom(shown)
	w.fill(max(shown, 1))
	if w.hi-w.lo == shown {
		return w.err
	}
	return nil
}

// makeRoom moves what is shown to the buffer's start, in a larger one if less than half of it would
// be free.
func (w *Window) makeRoom(shown int) {
	if len(w.buf)-w.hi >= max(shown, len(w.buf)/2) {
		return
	}
	to := w.buf
	if shown > len(w.buf)/2 && len(w.buf) < w.limit {
		to = make([]byte, min(2*len(w.buf), w.limit))
	}
	copy(to, w.buf[w.lo:w.hi])
	w.buf, w.lo, w.hi = to, 0, shown
}

// fill reads at least n bytes if the stream has them and the buffer takes them.
func (w *Window) fill(n int) {
	const patience = 100 // reads that give nothing; a reader that does this for ever is broken
	enough := min(w.hi+n, len(w.buf))
	for empty := 0; w.hi < enough && w.err == nil; {
		var got int
		got, w.err = w.r.Read(w.buf[w.hi:])
		w.hi += got
		if got > 0 {
			empty = 0
		} else if empty++; empty == patience && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
}
