package opennebula

import (
	"maps"
	"slices"
	"testing"
)

// TestNamesInTemplates: the attributes of a template that a client wrote are known, whichever of the
// two forms it has, and what is neither is refused.
func TestNamesInTemplates(t *testing.T) {
	for text, want := range map[string][]string{
		"<TEMPLATE><CPU>1</CPU><disk><SIZE>2</SIZE></disk></TEMPLATE>":                 {"CPU", "DISK"},
		"\n<?xml version='1.0'?><VM a='>'><NAME>a &amp; <![CDATA[<b>]]></NAME></VM>\n": {"NAME"},
		"<TEMPLATE/>":                    {},
		"CPU=1\nDISK=[SIZE=2]\n# NAME=a": {"CPU", "DISK"},
		"<TEMPLATE><CPU>1</TEMPLATE>":    nil,
		"<TEMPLATE>&nbsp;</TEMPLATE>":    nil,
		"<A>\x01</A>":                    nil,
		"<A>\xff</A>":                    nil,
		"<A></A><B></B>":                 nil,
		"<A></A>b":                       nil,
		"<A":                             nil,
		`CPU="1`:                         nil,
	} {
		raw, err := parseRaw(text)
		got := slices.Sorted(maps.Keys(raw.names))
		if (err == nil) != (want != nil) || err == nil && !slices.Equal(got, want) {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}
