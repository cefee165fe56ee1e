package opennebula

import (
	"math"
	"strconv"

	"vmgateway/internal/backends"
)

// number reads an id exactly: decimal, 0 to 2147483647, without a sign or leading zeros.
func number(native string) (int, bool) {
	if native == "" || len(native) > 10 || native[0] == '0' && native != "0" {
		return 0, false
	}
	for _, c := range []byte(native) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(native, 10, 64)
	if err != nil || n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}

// CheckID reports whether native can be the id of an object: a decimal number of 31 bits.
func (d *Driver) CheckID(native string) bool {
	_, ok := number(native)
	return ok
}

func (d *Driver) id(n int) backends.ID {
	return backends.ID{Backend: d.cfg.Name, Native: strconv.Itoa(n)}
}

// pathID is the number of an object that a URL names.
func (d *Driver) pathID(id backends.ID) (int, error) {
	n, ok := number(id.Native)
	if !ok || id.Backend != d.cfg.Name {
		return 0, &backends.Error{Code: backends.NotFound, Detail: "There is no object with this id."}
	}
	return n, nil
}

// bodyID is the number of an object that a request's body names.
func (d *Driver) bodyID(pointer string, id backends.ID) (int, error) {
	n, ok := number(id.Native)
	if !ok || id.Backend != d.cfg.Name {
		return 0, backends.Invalid(pointer, "expected an id of backend \""+d.cfg.Name+"\", such as "+d.cfg.Name+".0")
	}
	return n, nil
}

// ref is another object, or nil for what OpenNebula says for none: -1, or nothing.
func (d *Driver) ref(native, name string) *backends.Ref {
	if _, ok := number(native); !ok {
		return nil
	}
	return &backends.Ref{ID: backends.ID{Backend: d.cfg.Name, Native: native}, DisplayName: name}
}
