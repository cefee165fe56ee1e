package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A page token is, in base64url without padding:
//
//	1 byte    version
//	16 bytes  fingerprint of the list: its order and scope
//	values    one for each member of the order, then the id, each a tag and what it needs:
//	          absent -, false -, true -, signed int64, unsigned uint64, floating float64 bits,
//	          instant int64 seconds and uint32 nanoseconds, text uvarint length and bytes
//	16 bytes  signature of all before: the first half of an HMAC-SHA-256
//
// It is signed, not secret: it holds what its owner was shown. The fingerprint could be part of what is
// signed alone, but then a token of another list could not be told from a damaged one.
const (
	tokenVersion     = 2
	fingerprintBytes = 16
	signatureBytes   = 16
)

const (
	tagAbsent byte = iota
	tagFalse
	tagTrue
	tagSigned
	tagUnsigned
	tagFloating
	tagInstant
	tagText
)

// Pager makes and reads the page tokens of one list. It is safe for concurrent use.
type Pager struct {
	key         []byte
	order       *Order
	fingerprint [fingerprintBytes]byte
}

// NewPager is the pager of the list in that order and scope, with tokens that are signed with key. The
// scope is all else that decides which items are in the list, always in the same sequence: collection,
// filter, whose list it is, backends…. A token is refused in any other order or scope, and under any
// other key. pageSize, fields and view do not belong to it.
func NewPager(key []byte, order *Order, scope ...string) *Pager {
	h := sha256.New()
	for _, part := range append([]string{order.String()}, scope...) {
		var size [8]byte // so that "ab","c" is not "a","bc"
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	p := &Pager{key: key, order: order}
	copy(p.fingerprint[:], h.Sum(nil))
	return p
}

// sign appends the signature of b to it.
func (p *Pager) sign(b []byte) []byte {
	mac := hmac.New(sha256.New, p.key)
	mac.Write(b)
	return append(b, mac.Sum(nil)[:signatureBytes]...)
}

// signed is what was signed, without the signature; ok is false if that is not what p would write.
func (p *Pager) signed(b []byte) (_ []byte, ok bool) {
	text := b[:len(b)-signatureBytes]
	return text, hmac.Equal(p.sign(slices.Clone(text)), b)
}

// Position is a place in an ordered list, behind which a page begins.
type Position struct {
	order *Order
	keys  []scalar
	id    scalar // absent: the start of the list
}

// Token is the page token of the page behind last, the last item delivered.
func (p *Pager) Token(last any) (string, error) {
	v := p.order.item(last)
	if !v.IsValid() {
		return "", fmt.Errorf("query: %T is not an item of this list", last)
	}
	id := p.order.id.scalar(v)
	if id.joined().text == "" {
		return "", errors.New("query: an item without an id has no place in a list")
	}
	b := append([]byte{tokenVersion}, p.fingerprint[:]...)
	for _, k := range p.order.keys {
		b = appendScalar(b, k.scalar(v))
	}
	return base64.RawURLEncoding.EncodeToString(p.sign(appendScalar(b, id))), nil
}

// Position reads a token that Token made; "" is the start of the list. Errors are *Error.
func (p *Pager) Position(token string) (*Position, error) {
	pos := &Position{order: p.order}
	if token == "" {
		return pos, nil
	}
	if len(token) > maxLength {
		return nil, &Error{Msg: "too long for a page token"}
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != token { // the decoder skips newlines
		return nil, &Error{Msg: "not a page token: pass nextPageToken as it was received"}
	}
	if len(b) < 1+fingerprintBytes+signatureBytes || b[0] != tokenVersion {
		return nil, &Error{Msg: "not a page token of this release: begin again without one"}
	}
	if [fingerprintBytes]byte(b[1:]) != p.fingerprint {
		return nil, &Error{Msg: "this page token belongs to another list: repeat the request it came from, with the same filter, orderBy and scope, as the same user"}
	}
	text, ok := p.signed(b)
	if !ok || !pos.decode(text[1+fingerprintBytes:]) {
		return nil, &Error{Msg: "this page token is damaged: begin again without one"}
	}
	return pos, nil
}

func (pos *Position) decode(b []byte) bool {
	var ok bool
	for _, k := range pos.order.keys {
		var s scalar
		if s, b, ok = cutScalar(b); !ok || !k.plan.canBe(s.kind) {
			return false
		}
		if k.id {
			s = s.split()
		}
		pos.keys = append(pos.keys, s)
	}
	pos.id, b, ok = cutScalar(b)
	ok = ok && len(b) == 0 && pos.id.kind == text && pos.id.text != ""
	pos.id = pos.id.split()
	return ok
}

// canBe reports whether the member can have a value of kind k.
func (pl *plan) canBe(k kind) bool {
	if k == absent || pl.class == classOpaque {
		return true
	}
	return k == map[class]kind{classText: text, classNumber: numeric, classBool: boolean, classTime: instant}[pl.class]
}

// Start reports whether pos is the start of the list.
func (pos *Position) Start() bool { return pos.id.kind == absent }

// ID is the id of the item pos is behind, "" at the start. That item may be gone.
func (pos *Position) ID() string { return pos.id.joined().text }

// Before reports whether item comes after pos, and so belongs to the pages to come.
func (pos *Position) Before(item any) bool {
	if pos.Start() {
		return true
	}
	v := pos.order.item(item)
	for i := range pos.keys {
		k := &pos.order.keys[i]
		if c := k.compare(pos.keys[i], k.scalar(v)); c != 0 {
			return c < 0
		}
	}
	return pos.order.id.compare(pos.id, pos.order.id.scalar(v)) < 0
}

func appendScalar(b []byte, s scalar) []byte {
	switch s.kind {
	case boolean:
		if s.flag {
			return append(b, tagTrue)
		}
		return append(b, tagFalse)
	case numeric:
		return appendNumber(b, s.num)
	case instant:
		b = binary.BigEndian.AppendUint64(append(b, tagInstant), uint64(s.time.Unix()))
		return binary.BigEndian.AppendUint32(b, uint32(s.time.Nanosecond()))
	case text, identifier:
		s = s.joined()
		b = binary.AppendUvarint(append(b, tagText), uint64(len(s.text)))
		return append(b, s.text...)
	}
	return append(b, tagAbsent)
}

func appendNumber(b []byte, n number) []byte {
	switch n.kind {
	case signed:
		return binary.BigEndian.AppendUint64(append(b, tagSigned), n.bits)
	case unsigned:
		return binary.BigEndian.AppendUint64(append(b, tagUnsigned), n.bits)
	}
	return binary.BigEndian.AppendUint64(append(b, tagFloating), n.bits)
}

// cutScalar reads one value from the front of b. It takes only what appendScalar writes.
func cutScalar(b []byte) (s scalar, rest []byte, ok bool) {
	if len(b) == 0 {
		return s, b, false
	}
	tag, b := b[0], b[1:]
	switch tag {
	case tagAbsent:
		return scalar{}, b, true
	case tagFalse, tagTrue:
		return scalar{kind: boolean, flag: tag == tagTrue}, b, true
	case tagText:
		return cutText(b)
	case tagInstant:
		return cutInstant(b)
	case tagSigned, tagUnsigned, tagFloating:
		return cutNumber(tag, b)
	}
	return s, b, false
}

func cutText(b []byte) (s scalar, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n != 1 && n != 2 || size > maxKeyText || uint64(len(b)-n) < size {
		return s, b, false
	}
	b = b[n:]
	return scalar{kind: text, text: string(b[:size])}, b[size:], true
}

func cutInstant(b []byte) (s scalar, rest []byte, ok bool) {
	if len(b) < 12 {
		return s, b, false
	}
	nanos := binary.BigEndian.Uint32(b[8:])
	t := time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos)).UTC()
	return scalar{kind: instant, time: t}, b[12:], nanos < 1e9
}

func cutNumber(tag byte, b []byte) (s scalar, rest []byte, ok bool) {
	if len(b) < 8 {
		return s, b, false
	}
	bits := binary.BigEndian.Uint64(b)
	n := fromUint(bits)
	ok = true
	switch tag {
	case tagSigned:
		n = fromInt(int64(bits))
	case tagFloating:
		n, ok = fromFloat(math.Float64frombits(bits))
	}
	return scalar{kind: numeric, num: n}, b[8:], ok
}
