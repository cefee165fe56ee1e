package query_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends/query"
)

// The items of these tests have every shape the gateway's own have.
type (
	vmID struct{ backend, native string }

	vmState string

	vm struct {
		ID          vmID              `json:"id"`
		DisplayName *string           `json:"displayName,omitempty"`
		Description string            `json:"description,omitempty"`
		State       vmState           `json:"state,omitempty"`
		RawState    *rawState         `json:"rawState,omitempty"`
		Template    *bool             `json:"template,omitempty"`
		Host        *ref              `json:"host,omitempty"`
		Memory      memory            `json:"memory,omitzero"`
		Share       *float64          `json:"share,omitempty"`
		Uptime      int64             `json:"uptimeSeconds,omitempty"`
		Wait        time.Duration     `json:"wait,omitempty"`
		Big         uint64            `json:"big,omitempty"`
		Annotations map[string]string `json:"annotations,omitzero"`
		Limits      map[vmState]int   `json:"limits,omitempty"`
		ByNumber    map[int]string    `json:"byNumber,omitempty"`
		Disks       []disk            `json:"disks,omitempty"`
		Tags        []string          `json:"tags,omitzero"`
		CreateTime  *time.Time        `json:"createTime,omitempty"`
		Native      any               `json:"native,omitempty"`
		Raw         json.RawMessage   `json:"raw,omitempty"`
		Hidden      string            `json:"-"`
		Quoted      int               `json:"quoted,omitempty,string"`
		embedded
	}
	embedded struct {
		ETag string `json:"etag,omitempty"`
		ID   string `json:"id"` // loses to vm.ID
	}
	rawState struct {
		State string `json:"state,omitempty"`
		Code  *int   `json:"code,omitempty"`
	}
	ref struct {
		ID          vmID   `json:"id"`
		DisplayName string `json:"displayName,omitempty"`
	}
	memory struct {
		StaticMaxBytes *int64 `json:"staticMaxBytes,omitempty"`
	}
	disk struct {
		ID      int               `json:"id"`
		Type    string            `json:"type,omitempty"`
		Storage *ref              `json:"storage,omitempty"`
		Params  map[string]string `json:"params,omitempty"`
	}
)

func (id vmID) MarshalText() ([]byte, error) { return []byte(id.backend + "." + id.native), nil }

func (id *vmID) UnmarshalText(b []byte) error {
	backend, native, ok := strings.Cut(string(b), ".")
	if !ok {
		return errors.New("not an id")
	}
	*id = vmID{backend, native}
	return nil
}

func (vmState) Values() []string { return []string{"RUNNING", "PAUSED", "STOPPED"} }

var _ query.Enumerated = vmState("")

func vmType() reflect.Type { return reflect.TypeFor[vm]() }

func full() *vm {
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	return &vm{
		ID: vmID{"one", "42"}, DisplayName: new("Web-01 \"prod\""), Description: "front, ÄPFEL*",
		State: "RUNNING", RawState: &rawState{State: "ACTIVE", Code: new(3)}, Template: new(false),
		Host: &ref{ID: vmID{"one", "7"}}, Memory: memory{new(int64(9007199254740993))}, Share: new(0.5),
		Uptime: 5400, Wait: 20 * time.Second, Big: 1<<64 - 1,
		Annotations: map[string]string{"team": "web", "a-b": "1", "a b": "x", "empty": ""},
		Limits:      map[vmState]int{"PAUSED": 4}, ByNumber: map[int]string{-7: "seven"},
		Disks: []disk{
			{ID: 0, Type: "block", Storage: &ref{ID: vmID{"one", "100"}}, Params: map[string]string{"bus": "scsi"}},
			{ID: 1, Type: "file"},
		},
		Tags: []string{"green", "blue"}, CreateTime: &created,
		Native: map[string]any{"N": json.Number("5"), "S": "Five", "B": true, "Z": nil, "F": 1.5,
			"L": []any{map[string]any{"k": "v"}, "w"}, "T": ref{ID: vmID{"xen", "1"}}},
		Raw: json.RawMessage(`{"a":[1,{"b":"c"}],"n":9007199254740993}`), Quoted: 6,
		embedded: embedded{ETag: "e1"},
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		filter string
		want   bool // for full()
	}{
		{"", true}, {"   ", true},
		// texts
		{`displayName = "Web-01 \"prod\""`, true}, {`displayName='Web-01 "prod"'`, true},
		{`displayName = "web-01 \"prod\""`, false},
		{`displayName = "Web*"`, true}, {`displayName = Web*`, true}, {`displayName = "*prod\""`, true},
		{`displayName = "*01*"`, true}, {`displayName = "*"`, true}, {`displayName = *02*`, false},
		{`displayName != Web*`, false}, {`displayName != x`, true},
		{`displayName : "WEB"`, true}, {`displayName:eb-0`, true}, {`displayName:"b*"`, false},
		{`displayName:""`, true}, {`description:äpfel`, true}, {`description = "*\*"`, true}, {`description="front\*"`, false},
		{`description = "front, \u00c4PFEL\*"`, true}, {`state >= RUNNING`, true}, {`state < "RUNNING"`, false},
		{`state = RUNNING`, true}, {`state != RUNNING`, false}, {`etag = e1`, true},
		{`id = one.42`, true}, {`id = "one.43"`, false}, {`id:one.4`, true}, {`id = one.*`, true}, {`host.id = "one.7"`, true},
		// numbers
		{`memory.staticMaxBytes = 9007199254740993`, true}, {`memory.staticMaxBytes = 9007199254740992`, false},
		{`memory.staticMaxBytes > 9007199254740992`, true}, {`memory.staticMaxBytes < 9.1e15`, true},
		{`memory.staticMaxBytes:9007199254740993`, true}, {`memory.staticMaxBytes > -1`, true}, {`memory.staticMaxBytes != 5`, true},
		{`share = 0.5`, true}, {`share >= 5e-1`, true}, {`share < 1`, true}, {`share <= 0.4`, false},
		{`big = 18446744073709551615`, true}, {`big > 9223372036854775807`, true}, {`big < 18446744073709551616`, true},
		{`rawState.code = 3`, true}, {`rawState.code = 3.0`, true}, {`quoted = 6`, true},
		// durations
		{`uptimeSeconds = 1h30m`, true}, {`uptimeSeconds > 5399.5s`, true}, {`wait = 20s`, true}, {`wait >= 1m`, false},
		// booleans, times
		{`template = false`, true}, {`template != false`, false}, {`template:true`, false},
		{`createTime = 2024-05-06T07:08:09Z`, true}, {`createTime = "2024-05-06T09:08:09+02:00"`, true},
		{`createTime > 2024-05-06T07:08:08.999Z`, true}, {`createTime < 2024-01-01T00:00:00Z`, false},
		// maps
		{`annotations.team = web`, true}, {`annotations.team:web`, true}, {`annotations.team:we`, false}, {`annotations:team`, true},
		{`annotations:"a b"`, true}, {`annotations:none`, false}, {`annotations."a b" = x`, true}, {`annotations.a-b = "1"`, true},
		{`annotations.none = x`, false}, {`annotations.none != x`, false}, {`NOT annotations.none = x`, true},
		{`annotations.empty:*`, true}, {`annotations.none:*`, false}, {`annotations:*`, true},
		{`limits.PAUSED = 4`, true}, {`byNumber.-7 = seven`, true}, {`byNumber.1 = seven`, false},
		// lists
		{`tags:green`, true}, {`tags:gree`, false}, {`tags:gree*`, true}, {`tags = blue`, true}, {`tags:red`, false}, {`tags:*`, true},
		{`disks.type = file`, true}, {`disks.type != file`, true}, {`NOT disks.type = file`, false}, {`disks.id > 0`, true},
		{`disks.storage.id = "one.100"`, true}, {`disks.storage.id:one.100`, true}, {`disks.storage.id:one.10`, false},
		{`disks.params.bus:scsi`, true}, {`disks.params:bus`, true}, {`disks:storage`, true}, {`disks.storage:*`, true}, {`disks:*`, true},
		// objects and presence
		{`host:*`, true}, {`host:id`, true}, {`host:displayName`, false}, {`rawState:code`, true}, {`createTime:*`, true}, {`-host:*`, false},
		// any
		{`native.N = 5`, true}, {`native.N > 4.5`, true}, {`native.N = "5"`, false}, {`native.S:fi`, false}, {`native.S = Five`, true},
		{`native.B = true`, true}, {`native.B = "true"`, false}, {`native.Z:*`, false}, {`native.none.more = 1`, false},
		{`native.F < 2`, true}, {`native:S`, true}, {`native:Q`, false}, {`native.L.k = v`, true}, {`native.L:w`, true}, {`native.L:*`, true},
		{`native.T.id = xen.1`, true}, {`raw.a = 1`, true}, {`raw.a.b = c`, true}, {`raw.n = 9007199254740993`, true}, {`raw.n = 9007199254740992`, false},
		// absence
		{`host.displayName = x`, false}, {`host.displayName != x`, false}, {`NOT host.displayName = x`, true}, {`host.displayName < x`, false},
		// logic and precedence
		{`state=RUNNING AND template=false`, true}, {`state=PAUSED template=false`, false},
		{`state=PAUSED OR template=false AND etag=x`, false}, {`state=RUNNING OR etag=x AND etag=x`, false},
		{`etag=x AND etag=x OR state=RUNNING`, false}, {`(etag=x AND etag=x) OR state=RUNNING`, true},
		{`etag=x etag=x OR state=RUNNING`, false}, {`NOT (state=PAUSED OR etag=x)`, true}, {`-state=PAUSED -etag=x`, true},
		{`NOT state=PAUSED AND etag=e1`, true}, {`( ( state=RUNNING ) )`, true}, {`NOT(state=PAUSED)`, true},
		{`state = (RUNNING OR PAUSED)`, true}, {`state = (PAUSED OR STOPPED)`, false}, {`state=(NOT PAUSED)`, true},
		{`tags:(green blue)`, true}, {`tags:(green AND red)`, false},
		// groups of values: first, in the middle, last
		{`state=(RUNNING OR STOPPED) AND displayName:web`, true}, {`state=(RUNNING OR STOPPED) AND displayName:db`, false},
		{`state=(PAUSED OR STOPPED) AND displayName:web`, false}, {`displayName:web AND state=(RUNNING OR STOPPED)`, true},
		{`etag=e1 AND state=(RUNNING OR STOPPED) AND displayName:web`, true}, {`etag=e1 AND state=(PAUSED OR STOPPED) AND displayName:web`, false},
		{`etag=e1 state=(RUNNING OR STOPPED) displayName:db`, false}, {`state=(PAUSED OR STOPPED) OR etag=e1`, true},
		{`state=(RUNNING OR PAUSED) tags:(green blue) etag=e1`, true}, {`state=(RUNNING OR PAUSED) tags:(green red) etag=e1`, false},
		// … nested, negated, without blanks
		{`(state=(RUNNING OR STOPPED) AND etag=x) OR displayName:web`, true}, {`(state=(RUNNING OR STOPPED) AND etag=x) OR displayName:db`, false},
		{`tags:((green OR red) AND (blue OR red)) AND etag=e1`, true}, {`tags:((green OR red) AND (red)) AND etag=e1`, false},
		{`NOT state=(PAUSED OR STOPPED) AND etag=e1`, true}, {`NOT state=(RUNNING OR STOPPED) AND etag=e1`, false},
		{`-state=(PAUSED OR STOPPED) -etag=x`, true}, {`-state=(RUNNING OR STOPPED) -etag=x`, false},
		{`state=(-PAUSED) AND etag=e1`, true}, {`state=(NOT (RUNNING OR PAUSED)) AND etag=e1`, false},
		{`state=(RUNNING OR STOPPED)AND displayName:web`, true}, {`state=(RUNNING)OR(etag=x)`, true}, {`state=(PAUSED)(etag=e1)`, false},
		{`state=(PAUSED)OR etag=(e1)AND(displayName:db)`, false}, {`state = ( RUNNING ) AND etag = ( e1 )`, true},
		// search
		{`web`, true}, {`"WEB-01"`, true}, {`one.42`, true}, {`front äpf`, true}, {`absent`, false}, {`-absent`, true},
		{`web*`, true}, {`eb*`, false}, {`"*prod\""`, true}, {`42`, true}, {`web OR absent`, true}, {`"AND"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			f, err := query.Compile(tt.filter, vmType())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Match(full()); err != nil || got != tt.want {
				t.Errorf("Match = %v, %v; want %v", got, err, tt.want)
			}
			if got, err := f.Match(*full()); err != nil || got != tt.want {
				t.Errorf("Match of a copy = %v, %v; want %v", got, err, tt.want)
			}
			again, err := query.Compile(f.String(), vmType())
			if err != nil || again.String() != f.String() {
				t.Fatalf("%q does not parse to itself: %v", f.String(), err)
			}
			if got, err := again.Match(full()); err != nil || got != tt.want {
				t.Errorf("%q: Match = %v, %v; want %v", f, got, err, tt.want)
			}
			lazy, err := query.ParseFilter(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := lazy.Match(full()); err != nil || got != tt.want {
				t.Errorf("Match without Compile = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// TestMatchAbsent holds that an item without members satisfies no comparison, and every negated one.
func TestMatchAbsent(t *testing.T) {
	for _, filter := range []string{
		`displayName = x`, `displayName != x`, `rawState.code < 1`, `template != true`, `host.id != one.1`, `disks.id != 1`,
		`tags != x`, `tags:*`, `annotations:*`, `annotations.a != b`, `createTime > 2024-01-01T00:00:00Z`, `native.a != 1`, `native:*`,
		`raw.a != 1`, `memory.staticMaxBytes >= 0`, `uptimeSeconds = 0`, `rawState:code`, `memory:*`,
	} {
		for _, tt := range []struct {
			filter string
			want   bool
		}{{filter, false}, {"NOT " + filter, true}, {"-" + filter, true}} {
			f, err := query.Compile(tt.filter, vmType())
			if err != nil {
				t.Fatalf("%s: %v", tt.filter, err)
			}
			if got, err := f.Match(&vm{}); err != nil || got != tt.want {
				t.Errorf("%s: %v, %v; want %v", tt.filter, got, err, tt.want)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct {
		filter string
		pos    int
		msg    string // part of it
	}{
		{`staet = RUNNING`, 0, `unknown member "staet"; did you mean state?`},
		{`state = RUNNING AND host.idd = 1`, 25, `unknown member "idd" in "host"; did you mean id?`},
		{`Hidden = x`, 0, "unknown member"}, {`xyzzy = 1`, 0, `unknown member "xyzzy"`},
		{`displayName = 5`, 14, `is text: write "5", in quotes`}, {`state = true`, 8, "is text"}, {`annotations.a = 1`, 16, "is text"},
		{`rawState.code = "3"`, 16, "without quotes"}, {`rawState.code = three`, 16, "is a number"}, {`rawState.code = 1h`, 16, "is a number"},
		{`big = 1e400`, 6, "is a number"}, {`big = 0x10`, 6, "is a number"}, {`big = 1_000`, 6, "is a number"}, {`big = NaN`, 6, "is a number"},
		{`uptimeSeconds = soon`, 16, "is a number"}, {`template = 1`, 11, "true or false"}, {`template < true`, 11, "no order"},
		{`createTime > yesterday`, 13, "RFC 3339"}, {`createTime > 2024-01-01`, 13, "RFC 3339"},
		{`state = RUNING`, 8, `never "RUNING": it is one of RUNNING, PAUSED, STOPPED`}, {`id = 'x'`, 5, "not a value"},
		{`host = x`, 0, "is an object"}, {`annotations = x`, 0, "is a map"}, {`disks = x`, 0, "is an object"},
		{`host:idd`, 5, "unknown member"}, {`state.x = 1`, 6, "has no members"}, {`tags.x = 1`, 5, "has no members"},
		// syntax
		{`(`, 1, "found the end"}, {`)`, 0, "member's name"}, {`a)`, 1, "not opened"}, {`(a`, 0, "not closed"}, {`()`, 1, "expected"},
		{`ä ö "`, 4, "not closed"}, {`"a\x"`, 2, "unknown escape"}, {`"\ud800"`, 1, "hexadecimal"}, {`"\u12"`, 1, "hexadecimal"}, {`"\`, 1, "unknown escape"},
		{`state =`, 7, "expected a value, found the end"}, {`= x`, 0, "expected a member's name"}, {`state == x`, 7, "expected a value"},
		{`state = AND`, 8, "quote it"}, {`AND a`, 0, "quote it"}, {`a AND`, 5, "found the end"}, {`a OR OR b`, 5, "quote it"}, {`NOT`, 3, "found the end"},
		{`a and b`, 2, "write AND in capitals"}, {`not a`, 0, "write NOT in capitals"}, {`a && b`, 2, "write AND"}, {`a || b`, 2, "write OR"},
		{`--a`, 1, "negated twice"}, {`NOT NOT a`, 4, "quote it"}, {`a. b`, 2, "member's name"}, {`.a`, 0, "member's name"}, {`a.`, 2, "member's name"},
		{`state=(RUNNING) = x`, 16, "member's name"}, {`state=(RUNNING`, 6, "not closed"}, {`state=(RUNNING) AND`, 19, "found the end"},
		{`state=(RUNNING"x") AND etag=e1`, 14, "expected a blank"}, {`state=() AND etag=e1`, 7, "member's name"}, {`state=(RUNNING))`, 15, "not opened"},
		{`state=RUNNING"x"`, 13, "expected a blank"}, {`state!RUNNING`, 5, "expected a blank"}, {`!a`, 0, "member's name"}, {`a,b`, 1, "blank"},
		{`now()`, 0, "no functions"}, {`createTime > now()`, 13, "no functions"}, {`annotations."a"`, 15, "expected an operator"},
		{`state != (A OR B)`, 9, "needs = or :"}, {`state = (etag = x)`, 8, "values only"}, {"a\x00b", 1, "blank"}, {"a\xffb", 1, "not UTF-8"},
		{strings.Repeat("(", 33) + "a", 32, "deeper than 32"}, {strings.Repeat("ä", 4097), 4096, "too long"},
		{strings.Repeat("(", 10_000), 4096, "too long"}, {strings.Repeat("-(", 2000), 65, "deeper than 32"}, {strings.Repeat("a=(", 1300), 98, "deeper than 32"},
		{"state=RUNNING" + strings.Repeat(" AND state=RUNNING", 60_000), 4096, "too long"}, {strings.Repeat("x", 1<<20), 4096, "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.filter[:min(len(tt.filter), 40)], func(t *testing.T) {
			_, err := query.Compile(tt.filter, vmType())
			checkError(t, err, tt.pos, tt.msg)
		})
	}
}

func checkError(t *testing.T, err error, pos int, msg string) {
	t.Helper()
	var e *query.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *Error", err)
	}
	if e.Pos != pos || !strings.Contains(e.Msg, msg) {
		t.Errorf("at %d: %s; want at %d: %s", e.Pos, e.Msg, pos, msg)
	}
	if len(e.Msg) > 300 {
		t.Errorf("the message has %d bytes", len(e.Msg))
	}
}

func TestWrongTypes(t *testing.T) {
	if _, err := query.Compile("a=b", reflect.TypeFor[int]()); err == nil {
		t.Error("a filter over int was accepted")
	}
	if _, err := query.Compile("a=b", nil); err == nil {
		t.Error("a filter over nothing was accepted")
	}
	f, err := query.Compile("state=RUNNING", vmType())
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []any{nil, 5, (*vm)(nil), "x", &disk{}} {
		if ok, err := f.Match(item); ok || err == nil {
			t.Errorf("Match(%#v) = %v, %v", item, ok, err)
		}
	}
	var none *query.Filter
	if ok, err := none.Match(full()); !ok || err != nil || none.String() != "" {
		t.Errorf("a nil filter: %v, %v", ok, err)
	}
	if _, err := query.Compile("word", reflect.TypeFor[memory]()); err == nil {
		t.Error("a search without texts was accepted")
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		filter, path string
		want         string // "-" is no limit
	}{
		{``, "state", "-"}, {`state=RUNNING`, "state", "[RUNNING]"}, {`state="RUNNING" AND displayName:x`, "state", "[RUNNING]"},
		{`state=RUNNING`, "displayName", "-"}, {`NOT state=RUNNING`, "state", "-"}, {`state!=RUNNING`, "state", "-"}, {`displayName=x*`, "displayName", "-"},
		{`state=RUNNING OR state=PAUSED`, "state", "[RUNNING PAUSED]"}, {`state=(RUNNING OR PAUSED OR RUNNING)`, "state", "[RUNNING PAUSED]"},
		{`state=(RUNNING OR PAUSED) AND etag=x`, "state", "[RUNNING PAUSED]"}, {`-state=(RUNNING OR PAUSED) etag=x`, "state", "-"},
		{`state=RUNNING OR etag=x`, "state", "-"}, {`(state=RUNNING etag=x) OR state=PAUSED`, "state", "[RUNNING PAUSED]"},
		{`state=RUNNING AND state=PAUSED`, "state", "[]"}, {`(state=RUNNING OR state=PAUSED) (state=PAUSED OR state=STOPPED)`, "state", "[PAUSED]"},
		{`rawState.state=ACTIVE`, "rawState.state", "[ACTIVE]"}, {`annotations."a b"=x`, `annotations."a b"`, "[x]"},
		{`rawState.code=3.0`, "rawState.code", "[3]"}, {`template=true`, "template", "[true]"}, {`uptimeSeconds=1h`, "uptimeSeconds", "[3600]"},
		{`createTime=2024-05-06T09:08:09+02:00`, "createTime", "[2024-05-06T07:08:09Z]"},
		{`disks.type=a AND disks.type=b`, "disks.type", "[a]"}, {`(disks.type=a OR disks.type=b) disks.type=c`, "disks.type", "[c]"},
		{`state=RUNNING`, "not a path", "-"}, {`state=RUNNING`, "", "-"}, {`web`, "displayName", "-"},
	}
	for _, tt := range tests {
		f, err := query.Compile(tt.filter, vmType())
		if err != nil {
			t.Fatalf("%s: %v", tt.filter, err)
		}
		values, ok := f.Equal(tt.path)
		got := "-"
		if ok {
			got = fmt.Sprint(values)
		}
		if got != tt.want {
			t.Errorf("%s: Equal(%q) = %s, want %s", tt.filter, tt.path, got, tt.want)
		}
	}
	f, err := query.ParseFilter(`a=1 AND a=2`)
	if err != nil {
		t.Fatal(err)
	}
	if values, ok := f.Equal("a"); !ok || fmt.Sprint(values) != "[1]" {
		t.Errorf("without a type: %v, %v; want the first set, as a may be a list", values, ok)
	}
}
