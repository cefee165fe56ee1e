package scan

import (
	"bytes"
	"unicode/utf8"
)

// Item is one element of a document. It is good until the next is asked for.
type Item struct {
	raw   []byte
	found []Found
	text  []byte // scratch
}

// Raw is the element as it stands in the string, with its tags; of a damaged one, what is left of it.
func (it *Item) Raw() []byte { return it.raw }

// Found is what the table asked for, in the order of the record; of a damaged item, what stands in
// front of the damage.
func (it *Item) Found() []Found { return it.found }

// is reports whether a sound item has that name.
func (it *Item) is(name string) bool {
	n := len(lt) + len(name)
	return len(it.raw) > n && string(it.raw[len(lt):n]) == name && !wordByte[it.raw[n]]
}

// Name is the name of what was found.
func (it *Item) Name(f Found) []byte { return it.raw[f.name : f.name+f.size] }

// Append adds the text of a leaf to dst, resolved.
func (it *Item) Append(dst []byte, f Found) []byte {
	text := it.raw[f.from:f.to]
	switch f.how {
	case verbatim:
		return append(dst, text...)
	case once:
		return Unescape(dst, text)
	}
	it.text = Unescape(it.text[:0], text)
	resolved, err := Content(it.text, true)
	if err != nil {
		return dst // there is an element inside, which no leaf has
	}
	return append(dst, resolved...)
}

// XML adds the element to dst as it stands in the document.
func (it *Item) XML(dst []byte) []byte { return Unescape(dst, it.raw) }

// Unescape adds a text without markup to dst, with its references resolved. What cannot be is kept.
func Unescape(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
		r, size := reference(text)
		if size == 0 {
			r, size = '&', 1
		}
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
}

// Items keeps copies of items.
type Items struct {
	raw   []byte
	found []Found
	ends  []struct{ raw, found int }
	item  Item
}

// Reset forgets all items, and keeps the room.
func (s *Items) Reset() { s.raw, s.found, s.ends = s.raw[:0], s.found[:0], s.ends[:0] }

// Add copies an item and gives its number.
func (s *Items) Add(it *Item) int {
	s.raw = append(s.raw, it.raw...)
	s.found = append(s.found, it.found...)
	s.ends = append(s.ends, struct{ raw, found int }{len(s.raw), len(s.found)})
	return len(s.ends) - 1
}

// Size is how many bytes the items have.
func (s *Items) Size() int { return len(s.raw) }

// Item is the item of a number. It is good until the next is asked for, or Reset.
func (s *Items) Item(n int) *Item {
	from := struct{ raw, found int }{}
	if n > 0 {
		from = s.ends[n-1]
	}
	s.item.raw, s.item.found = s.raw[from.raw:s.ends[n].raw], s.found[from.found:s.ends[n].found]
	return &s.item
}
