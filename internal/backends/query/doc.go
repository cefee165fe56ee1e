// Package query is the language of list requests: filter, orderBy, fields and pageToken.
//
// It settles what those four parameters mean, once, over any Go struct that is answered as JSON.
// It leaves to others which collections exist, where items come from, and how an [Error] becomes a
// problem: it does no I/O and knows neither VM nor backend.
//
// The names of the language are the JSON member names, so a client filters by what it sees. A path
// is names joined by dots, `memory.staticMaxBytes`; a name with other characters is quoted,
// `annotations."a b"`. Lists are transparent: `disks.storage.id` is that id of every disk. Below a
// map, or a member of type any, every name is accepted. A member is absent when its JSON is (by
// omitempty or omitzero) or is null.
//
// # Filters
//
// The grammar is AIP-160's. Juxtaposition and AND mean the same, and OR binds tighter than AND:
// `a b OR c` is a AND (b OR c). NOT and a leading - negate. Keywords are in capitals; a bare `and`
// is refused, since it would quietly be a search for that word.
//
//	member      =, !=                         <, <=, >, >=         :
//	text        equal; * at an end: anything  by code point        contains, in any case
//	number      numerically, exactly          numerically          as =
//	true/false  equal                         refused              as =
//	time        the instant (RFC 3339)        earlier, later       as =
//	map         refused                       refused              has that key
//	object      refused                       refused              has that member
//	list        some element is               some element is      some element equals
//
// `member:*` asks whether the member is there: not absent, and for a list or map not empty. Below a
// list or a map, : is equality, as AIP-160 has it (`disks.type:"block"`, `annotations.team:"web"`).
// A value may be a group for = and :, `state = (RUNNING OR PAUSED)`.
//
// What is absent satisfies no comparison, not even !=, as AIP-160 says of unset fields; NOT is the
// full complement. So `host.id != "one.1"` is the VMs with a known other host, and
// `NOT host.id = "one.1"` those and the ones without a host. Below a list, a comparison holds if any
// element satisfies it; `NOT disks.type = "block"` is "no disk is a block device".
//
// A literal shows its type: 42 is a number, true is a boolean, all else is text, and quotes make
// anything text. A literal that cannot belong to its member is an error, so `displayName = 42` is
// refused in favour of `displayName = "42"`. Members of type any compare with what has the type of
// the literal. Quotes are " or ', and \ escapes \, ", ', * (no wildcard), n, r, t and uXXXX. A
// number whose name ends in Seconds takes durations as well: `uptimeSeconds > 1h30m`, `= 20s`.
//
// A literal alone is looked for in id, displayName and description, in any case; a * at its end
// anchors the other one (`web*`: begins with web).
//
// # Pages
//
// A page token is the place of the last item delivered, not a count of items: a list goes on after
// that place whatever came or went meanwhile, and nothing is delivered twice or left out that was
// there all the time. Every [Order] ends in the id, so that each item has one place. It is signed: one
// that was changed, or that belongs to another list or another user, is refused.
//
// # Rejected
//
// Evaluating over the marshalled item (map[string]any) would be less code, but would encode and
// decode every item of a long list to look at two members. A field mask by reflect.StructOf leaks a
// type for each mask a client invents, since Go never frees types. A process-wide cache of plans
// was left out: a plan holds only the paths in use, is made once for each request, and lives in its
// Filter. Offsets as page tokens skip and repeat items when others come and go.
package query
