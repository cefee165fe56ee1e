package xenapi

import (
	"context"
	"strconv"

	"vmgateway/internal/backends"
)

// api is a version of the XenAPI: 1.3 is {1, 3}, XenServer 8 is {2, 21}. The zero api is not known.
type api struct{ major, minor int64 }

// The releases at which something begins. Source: xen-api ocaml/idl/datamodel_common.ml.
var (
	miami      = api{1, 2}
	boston     = api{1, 9}
	clearwater = api{2, 0}
	kolkata    = api{2, 10}
)

func (a api) String() string {
	return strconv.FormatInt(a.major, 10) + "." + strconv.FormatInt(a.minor, 10)
}

func (a api) before(b api) bool {
	return a.major < b.major || a.major == b.major && a.minor < b.minor
}

// release is what runs on the other side.
type release struct {
	backends.Release
	api api
}

// has reports whether the release last seen has what began with since. Before the first login
// everything may be there.
func (d *Driver) has(since api) bool {
	r := d.release.Load()
	return r == nil || !r.api.before(since)
}

// Release is the release last seen.
func (d *Driver) Release() (backends.Release, bool) {
	r := d.release.Load()
	if r == nil {
		return backends.Release{}, false
	}
	return r.Release, true
}

// detect reads the release of the coordinator.
func (l *link) detect(ctx context.Context) error {
	host, err := l.callText(ctx, "session.get_this_host", l.session)
	if err != nil {
		return err
	}
	var version api
	for method, into := range map[string]*int64{
		"host.get_API_version_major": &version.major,
		"host.get_API_version_minor": &version.minor,
	} {
		v, err := l.call(ctx, method, host)
		if err != nil {
			return err
		}
		if *into, err = v.Int(); err != nil {
			return l.d.undecodable(method, err)
		}
	}
	const method = "host.get_software_version"
	v, err := l.call(ctx, method, host)
	if err != nil {
		return err
	}
	software, err := stringMap(v)
	if err != nil {
		return l.d.undecodable(method, err)
	}
	l.d.release.Store(&release{api: version, Release: backends.Release{
		Product: firstOf(software, "product_brand", "platform_name"),
		Version: firstOf(software, "product_version", "platform_version", "xapi"),
		API:     version.String(),
	}})
	return nil
}

func firstOf(m map[string]string, keys ...string) string {
	for _, k := range keys {
		if m[k] != "" {
			return m[k]
		}
	}
	return ""
}
