package scan_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"vmgateway/internal/backends/wire/scan"
)

func TestAWindowShowsAStreamPieceByPiece(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 1000)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once":         func(r io.Reader) io.Reader { return r },
		"byte by byte":    iotest.OneByteReader,
		"end with a read": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			w := scan.NewWindow(wrap(strings.NewReader(text)), 512, 1024)
			var got []byte
			for {
				if int64(len(got)) != w.Offset() {
					t.Fatalf("the window begins at %d, want %d", w.Offset(), len(got))
				}
				n := (len(w.Bytes()) + 1) / 2 // leaves a rest, as a record that is cut does
				got = append(got, w.Bytes()[:n]...)
				w.Advance(n)
				if err := w.More(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, w.Bytes()...)
			if string(got) != text {
				t.Errorf("%d bytes came out of it, want the %d that went in", len(got), len(text))
			}
		})
	}
}

func TestAWindowKeepsItsLimit(t *testing.T) {
	w := scan.NewWindow(bytes.NewReader(make([]byte, 5000)), 512, 2000)
	var err error
	for err == nil {
		err = w.More()
	}
	if !errors.Is(err, scan.ErrTooLong) {
		t.Errorf("got %v, want %v", err, scan.ErrTooLong)
	}
	if n := len(w.Bytes()); n != 2000 {
		t.Errorf("it shows %d bytes, want its limit of 2000", n)
	}
	w.Advance(1999)
	if err := w.More(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestAWindowTellsTheStreamsErrorAfterItsBytes(t *testing.T) {
	broken := errors.New("broken")
	w := scan.NewWindow(io.MultiReader(strings.NewReader("good"), iotest.ErrReader(broken)), 512, 512)
	if err := w.More(); err != nil || string(w.Bytes()) != "good" {
		t.Fatalf("got %q, %v, want the good bytes", w.Bytes(), err)
	}
	for range 2 {
		if err := w.More(); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	}
}

func TestAWindowGivesUpOnAReaderThatGivesNothing(t *testing.T) {
	w := scan.NewWindow(idle{}, 512, 512)
	if err := w.More(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want %v", err, io.ErrNoProgress)
	}
}

// idle is a reader that breaks the rules: never a byte, never an error.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestAWindowOnBytesShowsThemAll(t *testing.T) {
	w := scan.Whole([]byte("all"))
	if err := w.More(); !errors.Is(err, io.EOF) || string(w.Bytes()) != "all" {
		t.Errorf("got %q, %v, want all, and the end", w.Bytes(), err)
	}
}
