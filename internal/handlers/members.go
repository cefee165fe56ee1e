package handlers

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"

	"vmgateway/internal/backends"
)

// changes reads a body that is shaped like a VM into the list of its members' new values, in the
// order of backends.Members. The contract has settled names and types; null removes (RFC 7396).
func changes(r *http.Request) ([]backends.Change, map[string]any, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return nil, nil, &backends.Error{Code: backends.InvalidArgument, Detail: "The body is not a JSON object."}
	}
	var list []backends.Change
	for _, m := range backends.Members {
		raw, ok := at(body, m.Path)
		if !ok {
			continue
		}
		value, err := valueOf(m, raw)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, backends.Change{Path: m.Path, Value: value})
	}
	return list, body, nil
}

func at(body map[string]any, path string) (any, bool) {
	head, rest, deeper := strings.Cut(path, ".")
	value, ok := body[head]
	if !ok || !deeper {
		return value, ok
	}
	inner, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	return at(inner, rest)
}

// valueOf turns a JSON value into the Go type that the member's row names.
func valueOf(m backends.Member, raw any) (any, error) {
	pointer := backends.Pointer(m.Path)
	if raw == nil {
		if !m.Nullable {
			return nil, backends.Invalid(pointer, "must not be null")
		}
		return nil, nil
	}
	mismatch := backends.Invalid(pointer, "does not fit its type")
	switch m.Type {
	case backends.TypeString:
		if v, ok := raw.(string); ok {
			return v, nil
		}
	case backends.TypeBool:
		if v, ok := raw.(bool); ok {
			return v, nil
		}
	case backends.TypeInt:
		if v, ok := raw.(json.Number); ok {
			return integer(pointer, v)
		}
	case backends.TypeFloat:
		if v, ok := raw.(json.Number); ok {
			f, err := v.Float64()
			if err != nil || math.IsInf(f, 0) {
				return nil, backends.Invalid(pointer, "is out of range")
			}
			return f, nil
		}
	case backends.TypeID:
		if v, ok := raw.(map[string]any); ok { // shaped like the Ref that is read
			return idOf(pointer+"/id", v["id"])
		}
		return idOf(pointer, raw)
	case backends.TypeStringMap:
		if v, ok := raw.(map[string]any); ok {
			return stringMap(pointer, v)
		}
	case backends.TypeStrings:
		if v, ok := raw.([]any); ok {
			list := make([]string, len(v))
			for i := range v {
				if list[i], ok = v[i].(string); !ok {
					return nil, mismatch
				}
			}
			return list, nil
		}
	case backends.TypePermissions:
		return permissions(pointer, raw)
	case backends.TypeOwner:
		return owner(pointer, raw)
	}
	return nil, mismatch
}

// integer accepts 1024 and 1e3, but nothing that would be rounded.
func integer(pointer string, n json.Number) (any, error) {
	if v, err := n.Int64(); err == nil {
		return v, nil
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return nil, backends.Invalid(pointer, "is not a 64-bit integer")
	}
	return int64(f), nil
}

func idOf(pointer string, raw any) (any, error) {
	text, _ := raw.(string)
	id, err := backends.ParseID(text)
	if err != nil {
		return nil, backends.Invalid(pointer, "expected an id of the form {backend}.{native}")
	}
	return id, nil
}

func stringMap(pointer string, raw map[string]any) (any, error) {
	m := make(map[string]*string, len(raw))
	for key, value := range raw {
		switch v := value.(type) {
		case nil:
			m[key] = nil
		case string:
			m[key] = &v
		default:
			return nil, backends.Invalid(pointer+pointerOf([]string{key}), "expected a string or null")
		}
	}
	return m, nil
}

func permissions(pointer string, raw any) (any, error) {
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	var body struct {
		Owner, Group, Other struct{ Use, Manage, Admin *bool }
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, backends.Invalid(pointer, "does not fit its type")
	}
	return backends.PermissionsPatch{
		Owner: backends.PermissionBitsPatch(body.Owner),
		Group: backends.PermissionBitsPatch(body.Group),
		Other: backends.PermissionBitsPatch(body.Other),
	}, nil
}

func owner(pointer string, raw any) (any, error) {
	body, _ := raw.(map[string]any)
	var o backends.OwnerPatch
	for name, target := range map[string]**backends.ID{"user": &o.User, "group": &o.Group} {
		ref, ok := body[name].(map[string]any)
		if !ok {
			continue
		}
		value, err := idOf(pointer+"/"+name+"/id", ref["id"])
		if err != nil {
			return nil, err
		}
		id := value.(backends.ID)
		*target = &id
	}
	if o.User == nil && o.Group == nil {
		return nil, backends.Invalid(pointer, "names neither a user nor a group")
	}
	return o, nil
}
