package backends

import (
	"fmt"
	"strings"
)

// ID names one object of one backend. Its text is "{backend}.{native}", such as "one.42" or
// "xen.0b2f7c1e-…": the backend's configured name, and the id the backend itself uses for ever (an
// OpenNebula number, a XenAPI uuid). It never holds a colon. The zero ID is no object.
type ID struct {
	Backend string
	Native  string
}

// ParseID splits text at its first dot. It checks the form only: whether a native part fits its
// backend is the driver's to say ([Driver.CheckID]). Nothing is trimmed, folded or defaulted.
func ParseID(text string) (ID, error) {
	backend, native, ok := strings.Cut(text, ".")
	if !ok || !ValidName(backend) || native == "" {
		return ID{}, fmt.Errorf("%q is not an id: expected {backend}.{native}, such as one.42", shorten(text))
	}
	for _, c := range []byte(native) {
		if !isIDByte(c) {
			return ID{}, fmt.Errorf("%q is not an id: it holds a character that no id has", shorten(text))
		}
	}
	return ID{Backend: backend, Native: native}, nil
}

// ValidName reports whether name can be a backend's: [a-z][a-z0-9-]{0,31}.
func ValidName(name string) bool {
	if name == "" || len(name) > 32 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// String is the id as clients see it; "" for the zero ID.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	return id.Backend + "." + id.Native
}

// Parts is the two halves of the id, for whoever compares ids without putting them together.
func (id ID) Parts() (backend, native string) { return id.Backend, id.Native }

// MarshalText makes an ID a JSON string.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID for JSON bodies.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	*id = parsed
	return err
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// shorten keeps an error readable when a client sends kilobytes where an id belongs.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
