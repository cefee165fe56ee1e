package bench

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
)

// relay is the thinnest gateway there can be in Go: it makes the calls that a request stands for, in
// the way of the drivers, and answers a fixed text. It knows no tokens, contract, operations, states or
// log. What it adds to a call, any process in between would.
//
// It is told where the simulators are, and says its own URL.
func relay(in io.Reader, out io.Writer) error {
	var sim simulators
	if err := json.NewDecoder(in).Decode(&sim); err != nil {
		return err
	}
	fail := func(err error) { panic(err) } // net/http reports it and cuts the client off
	one, xen := newOne(context.Background(), sim.One, fail), newXen(context.Background(), sim.Xen, fail)
	mux := http.NewServeMux()
	for pattern, calls := range map[string]func(ctx context.Context, vm, action string){
		"POST /one/{vm}/{action}": func(ctx context.Context, vm, action string) {
			one.with(ctx).one("one.vm.action", action, number(vm))
		},
		"POST /xen/{vm}/{action}": func(ctx context.Context, vm, action string) { xen.with(ctx).async("VM."+action, vm) },
		"GET /one/{vm}":           func(ctx context.Context, vm, _ string) { one.with(ctx).one("one.vm.info", number(vm)) },
		"GET /xen/{vm}":           func(ctx context.Context, vm, _ string) { xen.with(ctx).vm(vm) },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			calls(r.Context(), r.PathValue("vm"), r.PathValue("action"))
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"done":true}`)
		})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	if err := json.NewEncoder(out).Encode(server.URL); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// number is the id of an OpenNebula VM.
func number(vm string) int {
	id, err := strconv.Atoi(vm)
	if err != nil {
		panic(err)
	}
	return id
}
