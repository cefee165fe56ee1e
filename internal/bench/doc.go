// Package bench measures the gateway as it is shipped: what it adds to a call, and what a thousand
// listeners cost. docs/performance.md says how to run it, and holds the results of a run.
//
// It has benchmarks only. They take four processes: this one is the client; the gateway is the
// binary, built and configured as for real backends; the simulators and the relay are this test binary
// once more, under another environment. Each hop of a call that goes through the gateway, and of the
// one that it is compared with, so crosses the same border between processes, and the gateway's CPU
// time and memory, which it tells at /metrics, hold nothing of anybody else's.
//
// The relay makes the same calls as the gateway for each request, and does nothing else. What it adds
// is what any process in between costs; what the gateway adds beyond it is the gateway's own.
//
// Every time stands beside a baseline that was measured in turns with it, on the same machine, in the
// same minute: on a machine that others use too, only ratios and differences mean anything. A
// benchmark that compares calls also counts them at the simulator, and fails when the gateway makes
// others than those it is compared with.
//
// What a single package does in memory is measured there: internal/backends/wire, internal/feed.
//
// Rejected: gateway -demo as the process under test, since its simulators would count as the gateway;
// and all in one process, where the Go scheduler hands a call from client to server without the
// kernel's help, which flatters the direct call.
package bench
