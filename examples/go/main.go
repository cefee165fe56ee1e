// Command migrate moves one running VM to another host, and watches it happen.
//
//	GATEWAY_PASSWORD=opennebula go run . http://127.0.0.1:8080 one oneadmin
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	gateway "vmgateway/clients/go"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: GATEWAY_PASSWORD=… migrate URL BACKEND USER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Getenv("GATEWAY_PASSWORD")); err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
}

func run(url, backend, username, password string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	// region login
	c, err := gateway.LogIn(ctx, url, gateway.Credentials{
		Backend: backend, Username: username, Password: gateway.Secret(password),
	})
	if err != nil {
		return err // its code: gateway.CodeOf(err)
	}
	defer func() { err = errors.Join(err, c.DeleteSession(context.WithoutCancel(ctx))) }()
	// endregion

	// region list
	var vms []*gateway.VM
	query := gateway.ListVmsParams{Filter: new(`state="RUNNING"`), Fields: new("displayName,host")}
	for vm, err := range c.AllVMs(ctx, &query).VMs() {
		if missing, ok := errors.AsType[*gateway.MissingError](err); ok {
			fmt.Fprintln(os.Stderr, missing) // the others are all there
			break
		}
		if err != nil {
			return err
		}
		fmt.Println("running:", vm.ID, *vm.DisplayName, "on", *vm.Host.DisplayName)
		vms = append(vms, vm)
	}
	// endregion
	if len(vms) == 0 {
		return errors.New("no VM is running")
	}
	vm := vms[0]
	host, err := another(ctx, c, backend, vm.Host.ID)
	if err != nil {
		return err
	}

	// region follow
	// Listen before anything is asked for, so that nothing is missed.
	stream, err := c.Follow(ctx, &gateway.StreamEventsParams{VM: []gateway.ID{vm.ID}})
	if err != nil {
		return err
	}
	defer stream.Close()
	// endregion

	// region migrate
	operation, err := c.VMMigrate(ctx, vm.ID, gateway.MigrateArgs{Host: host.ID}, nil)
	if err != nil {
		return err
	}
	if operation, err = c.Wait(ctx, operation); err != nil {
		return err // also if it FAILED: an *gateway.OperationError
	}
	fmt.Println("migrated:", vm.ID, "to", host.DisplayName)
	// endregion

	// region events
	for event, err := range stream.Events() {
		switch {
		case err != nil:
			return err
		case event.Type == gateway.EventTypeResync:
			fmt.Println("event: read the VMs of", *event.Backend, "anew")
		case event.Type == gateway.EventTypeVmChanged:
			fmt.Println("event:", event.Type, event.VM.ID, event.Changed)
		case event.Type == gateway.EventTypeOperationChanged:
			fmt.Println("event:", event.Type, event.Operation.Verb, event.Operation.State)
			if event.Operation.ID == operation.ID && event.Operation.State == gateway.OperationStateSucceeded {
				return nil
			}
		}
	}
	// endregion
	return nil
}

// another finds a host of the same backend that takes VMs.
func another(ctx context.Context, c *gateway.Client, backend, than string) (gateway.Host, error) {
	list, err := c.ListHosts(ctx, &gateway.ListHostsParams{Backend: []string{backend}})
	if err != nil {
		return gateway.Host{}, err
	}
	for _, host := range list.Hosts {
		if host.ID != than && host.State == gateway.HostStateEnabled {
			return host, nil
		}
	}
	return gateway.Host{}, errors.New("there is no other host")
}
