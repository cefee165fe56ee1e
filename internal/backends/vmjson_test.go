package backends_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// encoded is what AppendJSON has to write.
func encoded(t *testing.T, vm *backends.VM) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(vm); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func checkJSON(t *testing.T, what string, vm *backends.VM) {
	t.Helper()
	const before = `[{"id":"one.1"},`
	if got, want := string(vm.AppendJSON([]byte(before))), before+encoded(t, vm); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// texts are the texts that JSON writes in different ways.
var texts = []string{
	"", "plain", `"\/`, "\x00\b\t\n\v\f\r\x1b\x1f\x7f", "<a href='&'>", "ÄÖ 漢字 😀", "\u2027\u2028\u2029\u202a", "\ufffd", "a\xffb\xe2\x80", "\xed\xa0\x80", ".",
}

var floats = []float64{
	0, math.Copysign(0, -1), 1, -0.5, 0.1, 1e-6, 9.99e-7, 1e-7, -1.5e-9, 1e-10, 1e-100, 1e20, 1e21, -1.25e22, 1e100,
	math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, 100.000001,
}

var times = []time.Time{
	{}, time.Unix(0, 0).UTC(), time.Date(2026, 11, 22, 12, 0, 0, 120000000, time.UTC),
	time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.FixedZone("", -5*3600)),
}

// samples are values of the type t, if it has no parts.
func samples(t reflect.Type) (list []any) {
	switch t.Kind() {
	case reflect.String:
		for _, s := range texts {
			list = append(list, s)
		}
	case reflect.Float64:
		for _, f := range floats {
			list = append(list, f)
		}
	case reflect.Int, reflect.Int64:
		list = []any{0, 7, -1, math.MaxInt64, math.MinInt64}
	case reflect.Bool:
		list = []any{true, false}
	case reflect.Interface:
		list = []any{map[string]any{}, map[string]any{"B": []any{"<&>", 1.5, nil}, "A": json.Number("12345678901234567890")}, json.RawMessage(`{ "k" : "<" }`), (*int)(nil), "\xff"}
	case reflect.Map:
		many := map[string]string{}
		for i := range 40 {
			many[strconv.Itoa(i*i%41)] = texts[i%len(texts)]
		}
		list = []any{map[string]string{}, map[string]string{"": "empty", "\xff": "a", "\ufffd": "b", `<"`: "c", "B": "", "a": "", "A": ""}, many}
	}
	return list
}

// vary gives v one value after the other, alone and inside whatever it has, and leaves it as it was.
func vary(t *testing.T, path string, v reflect.Value, tell func(path string)) {
	t.Helper()
	defer v.SetZero()
	if v.Type() == reflect.TypeFor[time.Time]() {
		for _, x := range times {
			v.Set(reflect.ValueOf(x))
			tell(path)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		tell(path)
		vary(t, path, v.Elem(), tell)
	case reflect.Struct:
		for i := range v.NumField() {
			vary(t, path+"."+v.Type().Field(i).Name, v.Field(i), tell)
		}
	case reflect.Slice:
		for n := range 3 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			tell(path)
		}
		vary(t, path+"[1]", v.Index(1), tell)
	default:
		list := samples(v.Type())
		if list == nil {
			t.Fatalf("%s is of a kind that this test does not know: %s", path, v.Type())
		}
		for _, x := range list {
			v.Set(reflect.ValueOf(x).Convert(v.Type()))
			tell(path)
		}
	}
}

// fill sets every member below v. No two texts are alike.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(int64(*n), 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{fmt.Sprint("key ", *n): fmt.Sprint("value ", *n), fmt.Sprint("also ", *n): fmt.Sprint("more ", *n)}))
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"RECORD": fmt.Sprint("text ", *n)}))
	default:
		t.Fatalf("a member is of a kind that this test does not know: %s", v.Type())
	}
}

func filled(t *testing.T) *backends.VM {
	t.Helper()
	var n int
	vm := &backends.VM{}
	fill(t, reflect.ValueOf(vm).Elem(), &n)
	return vm
}

func TestAppendJSONOfEveryMember(t *testing.T) {
	checkJSON(t, "all members", filled(t))
	checkJSON(t, "none", &backends.VM{})
	cases := 0
	vm := &backends.VM{}
	vary(t, "VM", reflect.ValueOf(vm).Elem(), func(path string) {
		cases++
		checkJSON(t, path, vm)
	})
	if cases < 1000 {
		t.Errorf("%d cases are not all", cases)
	}
}

func TestAppendJSONLeavesOutWhatJSONHasNot(t *testing.T) {
	year := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, vm := range map[string]*backends.VM{
		"NaN":            {CPU: &backends.CPU{Share: new(math.NaN())}},
		"infinity":       {CPU: &backends.CPU{Share: new(math.Inf(-1))}},
		"year 10000":     {CPU: &backends.CPU{}, CreateTime: &year},
		"native channel": {CPU: &backends.CPU{}, Native: map[string]any{"c": make(chan int)}},
	} {
		if got := string(vm.AppendJSON(nil)); got != `{"id":"","cpu":{}}` {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAppendJSONOfSimulatedVMs(t *testing.T) {
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		for _, vm := range simulated(t, view) {
			checkJSON(t, string(view), vm)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	for i, s := range texts {
		f.Add(s, texts[(i+1)%len(texts)], floats[i], int64(i), int64(i)*1e9, 0)
	}
	f.Add("b", "a", 1e21, int64(math.MinInt64), int64(253402300799), 999999999)
	f.Fuzz(func(t *testing.T, a, b string, x float64, n, seconds int64, nanos int) {
		vm := &backends.VM{
			ID: backends.ID{Backend: a, Native: b}, UID: b, DisplayName: &a, State: backends.State(a), RawState: &backends.RawState{State: b, StateCode: new(int(n))},
			CPU: &backends.CPU{VCPUs: &n, Params: map[string]string{a: b, b: a, a + b: "", b + a: a}}, Annotations: map[string]string{a: a},
			XenAPI: &backends.XenAPIVM{Tags: []string{a, b, a + b}},
		}
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			vm.CPU.Share = &x
		}
		if at := time.Unix(seconds, int64(nanos)).UTC(); at.Year() >= 0 && at.Year() <= 9999 {
			vm.CreateTime = &at
		}
		checkJSON(t, "fuzzed", vm)
		if text := vm.AppendJSON(nil); !json.Valid(text) {
			t.Errorf("not JSON: %s", text)
		}
	})
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull} {
		for _, vm := range simulated(t, view) {
			b := vm.AppendJSON(nil)
			if n := testing.AllocsPerRun(10, func() { b = vm.AppendJSON(b[:0]) }); n > 0 {
				t.Errorf("%s: %s takes %v allocations", view, vm.ID, n)
			}
		}
	}
}

// BenchmarkVMAsJSON writes VMs of the simulators; encoding/json is what it is to be held against.
func BenchmarkVMAsJSON(b *testing.B) {
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull} {
		vms := simulated(b, view)
		b.Run(string(view)+"/append", func(b *testing.B) {
			b.ReportAllocs()
			var text []byte
			size := 0
			for i := 0; b.Loop(); i++ {
				text = vms[i%len(vms)].AppendJSON(text[:0])
				size += len(text)
			}
			b.SetBytes(int64(size / b.N))
		})
		b.Run(string(view)+"/encoding", func(b *testing.B) {
			b.ReportAllocs()
			var text bytes.Buffer
			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(false)
			size := 0
			for i := 0; b.Loop(); i++ {
				text.Reset()
				if err := enc.Encode(vms[i%len(vms)]); err != nil {
					b.Fatal(err)
				}
				size += text.Len()
			}
			b.SetBytes(int64(size / b.N))
		})
	}
}
