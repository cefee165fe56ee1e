// Command gateway serves one REST API over OpenNebula and XenAPI.
//
//	gateway -demo                     both built-in simulators, on loopback
//	gateway -config gateway.yaml      real backends
//	gateway -check-config -config …   tells every mistake in the configuration, and exits
//
// Flags win over the environment (VMGATEWAY_…), which wins over the file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ, os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "gateway:", err)
	}
	os.Exit(1)
}

// run is the program; it ends when ctx does.
func run(ctx context.Context, args []string, environ func() []string, stdout, stderr io.Writer) error {
	f, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if f.version {
		fmt.Fprintln(stdout, "gateway", version())
		return nil
	}
	cfg, err := loadConfig(f, environ())
	if err != nil {
		return err
	}
	switch {
	case f.checkConfig:
		fmt.Fprintf(stdout, "The configuration is good: %d backends, listening on %s.\n", len(cfg.Backends), cfg.Listen)
		return nil
	case f.healthCheck:
		return checkHealth(ctx, cfg)
	}
	log, err := newLogger(cfg.Log, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }() // stderr cannot always be synced, and there is nobody left to tell
	if f.demo {
		return runDemo(ctx, cfg, f, log, stdout)
	}
	s, err := newServer(cfg, log)
	if err != nil {
		return err
	}
	return s.serve(ctx, func(url string) error { return nil })
}

// version is the module's, as the Go toolchain stamped it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
