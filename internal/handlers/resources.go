package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"reflect"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// collection serves GET of a collection beside VMs.
func collection[T any](a *API, name string, what backends.Resource) handler {
	return func(r *http.Request) (reply, error) {
		p, err := planList[T](a, r, name)
		if err != nil {
			return reply{}, err
		}
		page, err := gather(r, a, p, func(ctx context.Context, s source) reading[T] {
			return reading[T]{items: resourceSeq[T](ctx, s, what)}
		})
		if err != nil {
			return reply{}, err
		}
		appendJSON := func(b []byte, item *T) ([]byte, error) { return appendItem(b, p.mask, item) }
		tail := resourceTail{NextPageToken: page.next, Unreachable: a.missing(r, page.outcomes).Unreachable}
		return pageReply(a, name, page.items, appendJSON, tail)
	}
}

// resourceTail is what follows the items of a page beside VMs.
type resourceTail struct {
	NextPageToken string            `json:"nextPageToken,omitempty"`
	Unreachable   []unreachableBody `json:"unreachable"`
}

func (t resourceTail) version() string {
	return t.NextPageToken + missing{Unreachable: t.Unreachable}.version()
}

// resourceSeq is the objects of one backend.
func resourceSeq[T any](ctx context.Context, s source, what backends.Resource) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		value, err := s.backend.Read(ctx, s.session, what, backends.ID{})
		if err != nil {
			yield(nil, err)
			return
		}
		items, ok := value.([]T)
		if !ok {
			yield(nil, fmt.Errorf("the driver of %s answered %s with a %T", s.backend.Name, what, value))
			return
		}
		for i := range items {
			if !yield(&items[i], nil) {
				return
			}
		}
	}
}

// appendItem appends what the mask takes of an item; a nil one takes all.
func appendItem(b []byte, mask *query.Mask, item any) ([]byte, error) {
	if mask != nil {
		return mask.Append(b, item)
	}
	text, err := encodeJSON(item)
	return append(b, bytes.TrimSpace(text)...), err
}

// object serves GET of one object beside VMs.
func (a *API) object(parameter string, what backends.Resource) handler {
	masks := map[backends.Resource]func(*http.Request) (*query.Mask, error){
		backends.HostByID:     fields[backends.Host],
		backends.TemplateByID: fields[backends.Template],
		backends.ImageByID:    fields[backends.Image],
		backends.StorageByID:  fields[backends.Storage],
		backends.NetworkByID:  fields[backends.Network],
	}
	return func(r *http.Request) (reply, error) {
		mask, err := masks[what](r)
		if err != nil {
			return reply{}, err
		}
		t, err := a.target(r, parameter)
		if err != nil {
			return reply{}, err
		}
		value, err := a.readResource(r, t, what)
		if err != nil {
			return reply{}, err
		}
		if mask != nil {
			masked, err := mask.Apply(value)
			return reply{status: http.StatusOK, body: masked}, err
		}
		return reply{status: http.StatusOK, body: value}, nil
	}
}

// vmPart is a part of a VM that is read by itself. A list stands under its member's name.
type vmPart struct {
	operationID string
	what        backends.Resource
	member      string // "" when the part is one object
}

var vmParts = []vmPart{
	{"listVmDisks", backends.VMDisks, "disks"},
	{"listVmNics", backends.VMNICs, "nics"},
	{"listVmConsoles", backends.VMConsoles, "consoles"},
	{"getVmMetrics", backends.VMMetrics, ""},
	{"getVmGuestMetrics", backends.VMGuestMetrics, ""},
	{"listVmCrashDumps", backends.VMCrashDumps, "crashDumps"},
	{"listVmTpms", backends.VMTPMs, "tpms"},
	{"getVmBootRecord", backends.VMBootRecord, ""},
	{"listVmPossibleHosts", backends.VMPossibleHosts, "hosts"},
	{"listVmAllowedDiskDevices", backends.VMAllowedDisks, "devices"},
	{"listVmAllowedNicDevices", backends.VMAllowedNICs, "devices"},
}

// part serves GET of a part of a VM.
func (a *API) part(p vmPart) handler {
	return func(r *http.Request) (reply, error) {
		t, err := a.target(r, "vm")
		if err != nil {
			return reply{}, err
		}
		value, err := a.readResource(r, t, p.what)
		if err != nil {
			return reply{}, a.elsewhere(err, func(d backends.Driver) bool { return d.Reads(p.what) })
		}
		if p.member == "" {
			return reply{status: http.StatusOK, body: value}, nil
		}
		if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.IsNil() {
			value = json.RawMessage("[]")
		}
		return reply{status: http.StatusOK, body: map[string]any{p.member: value}}, nil
	}
}
