package xensim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Releases the simulator can speak as. Between them lie all the changes in messages and fields that
// the data model records; the middle one is the release of the recorded traffic.
const (
	ReleaseOld    = "1.3"     // the toolstack of December 2011, tag fhs/1.3
	ReleaseMiddle = "24.16.0" // June 2024
	ReleaseNew    = "26.17.0"
)

// release is what differs by release but is no field or message.
type release struct {
	name         string
	major, minor int64
	software     record
	old          bool // tag fhs/1.3: the members flagged so, and migration reads its option live
}

func findRelease(name string) (release, error) {
	for _, r := range []release{
		{name: ReleaseOld, major: 1, minor: 3, old: true, software: record{
			{"product_version", "1.3.0"}, {"product_brand", "XCP"}, {"build_number", "0"}, {"hostname", "localhost"},
			{"date", "2011-12-11"}, {"xapi", "1.3"}, {"xen", "4.1.2"}, {"linux", "2.6.32.43"}, {"network_backend", "bridge"},
		}},
		{name: ReleaseMiddle, major: 2, minor: 21, software: software("8.4.0", "3.4.0", ReleaseMiddle, "2.21", "5.776")},
		{name: ReleaseNew, major: 2, minor: 23, software: software("9.0.0", "3.5.0", ReleaseNew, "2.23", "5.790")},
	} {
		if r.name == name {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("xensim: no release %q; there are %s, %s and %s", name, ReleaseOld, ReleaseMiddle, ReleaseNew)
}

func software(product, platform, build, api, schema string) record {
	short := build[:strings.LastIndexByte(build, '.')]
	return record{
		{"product_version", product}, {"platform_name", "XCP"}, {"platform_version", platform}, {"product_brand", "XenServer"},
		{"build_number", "0"}, {"git_id", "0"}, {"hostname", "localhost"}, {"date", "20240611T00:00:00Z"},
		{"xapi", short}, {"xapi_build", build}, {"xen", "4.17.4-sim"}, {"linux", "4.19.0"},
		{"xencenter_min", api}, {"xencenter_max", api}, {"network_backend", "openvswitch"}, {"db_schema", schema},
	}
}

// has tells whether something introduced in since exists in r. A release before xapi's version numbers
// is named by its code name; all of those are older than any number. inOld says it for the oldest tag,
// which is between two code names.
func (r release) has(since string, inOld bool) bool {
	if r.old {
		return inOld
	}
	want, numbered := versionNumbers(since)
	if !numbered {
		return true
	}
	have, _ := versionNumbers(r.name)
	return slices.Compare(want, have) <= 0
}

// versionNumbers reads "24.16.0" and "26.16.0-next".
func versionNumbers(s string) ([]int, bool) {
	s, _, _ = strings.Cut(s, "-")
	var out []int
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}
