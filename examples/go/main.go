// Command migrate moves one running VM to another host, and watches it happen.
//
//	GATEWAY_PASSWORD=opennebula go run . http://127.0.0.1:8080 one oneadmin
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"

	"migrate/gateway"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: GATEWAY_PASSWORD=… migrate URL BACKEND USER")
		os.Exit(2)
	}
	who := gateway.Credentials{Backend: os.Args[2], Username: os.Args[3], Password: os.Getenv("GATEWAY_PASSWORD")}
	if err := run(ctx, os.Args[1], who); err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, who gateway.Credentials) error {
	api, err := logIn(ctx, url, who)
	if err != nil {
		return err
	}
	defer api.DeleteSessionWithResponse(context.WithoutCancel(ctx), nil)

	vms, err := running(ctx, api)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		fmt.Println("running:", vm.Id, *vm.DisplayName, "on", *vm.Host.DisplayName)
	}
	if len(vms) == 0 {
		return errors.New("no VM is running")
	}
	vm := vms[0]
	host, err := another(ctx, api, *vm.Host)
	if err != nil {
		return err
	}

	// Listen before anything is asked for, so that nothing is missed.
	events, err := api.StreamEvents(ctx, &gateway.StreamEventsParams{Vm: &[]gateway.ID{vm.Id}})
	if err != nil {
		return err
	}
	defer events.Body.Close()
	operation, err := migrate(ctx, api, vm.Id, host)
	if err != nil {
		return err
	}
	fmt.Println("migrated:", vm.Id, "to", host.DisplayName)
	return follow(events.Body, operation.Id)
}

// region login

// logIn makes a client whose calls carry the token of a new session.
func logIn(ctx context.Context, url string, who gateway.Credentials) (*gateway.ClientWithResponses, error) {
	api, err := gateway.NewClientWithResponses(url)
	if err != nil {
		return nil, err
	}
	reply, err := api.CreateSessionWithResponse(ctx, nil, who)
	if err != nil {
		return nil, err
	}
	if reply.JSON201 == nil {
		return nil, refused(reply.Body)
	}
	bearer := "Bearer " + *reply.JSON201.Token
	return gateway.NewClientWithResponses(url, gateway.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", bearer)
			return nil
		}))
}

// refused makes an error of a problem document, as every error of the gateway is one.
func refused(body []byte) error {
	var p gateway.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	if p.Detail == nil {
		return fmt.Errorf("%s: %s", p.Code, p.Title)
	}
	return fmt.Errorf("%s: %s", p.Code, *p.Detail)
}

// endregion

// region list

// running lists the VMs that run, page by page.
func running(ctx context.Context, api *gateway.ClientWithResponses) ([]gateway.VM, error) {
	query := gateway.ListVmsParams{Filter: new(`state="RUNNING"`), Fields: new("displayName,host")}
	var vms []gateway.VM
	for {
		page, err := api.ListVmsWithResponse(ctx, &query)
		if err != nil {
			return nil, err
		}
		if page.JSON200 == nil {
			return nil, refused(page.Body)
		}
		for _, missing := range page.JSON200.Unreachable { // the others are all there
			fmt.Fprintln(os.Stderr, missing.Backend, "is not in the list:", missing.Problem.Title)
		}
		vms = append(vms, page.JSON200.Vms...)
		if query.PageToken = page.JSON200.NextPageToken; query.PageToken == nil {
			return vms, nil
		}
	}
}

// endregion

// another finds a host of the same backend that takes VMs.
func another(ctx context.Context, api *gateway.ClientWithResponses, than gateway.Ref) (gateway.Host, error) {
	reply, err := api.ListHostsWithResponse(ctx, &gateway.ListHostsParams{})
	if err != nil {
		return gateway.Host{}, err
	}
	if reply.JSON200 == nil {
		return gateway.Host{}, refused(reply.Body)
	}
	for _, host := range reply.JSON200.Hosts {
		if host.Id != than.Id && host.State == gateway.HostStateENABLED {
			return host, nil
		}
	}
	return gateway.Host{}, errors.New("there is no other host")
}

// region migrate

// migrate moves a VM, live, and waits for the end.
func migrate(ctx context.Context, api *gateway.ClientWithResponses, vm gateway.ID, to gateway.Host) (*gateway.Operation, error) {
	reply, err := api.VmMigrateWithResponse(ctx, vm,
		&gateway.VmMigrateParams{Prefer: new("wait=60")},
		gateway.MigrateArgs{Host: to.Id})
	if err != nil {
		return nil, err
	}
	operation := reply.JSON200 // it has ended
	if reply.JSON202 != nil {
		return nil, errors.New("it goes on for more than a minute")
	}
	if operation == nil {
		return nil, refused(reply.Body)
	}
	if operation.Error != nil { // that it failed is its own news, not an error of the call
		return nil, fmt.Errorf("%s: %s", operation.Error.Code, operation.Error.Title)
	}
	return operation, nil
}

// endregion

// region follow

// follow tells what happens until the operation has succeeded.
func follow(stream io.Reader, operation gateway.ID) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue // the event's id and type, a comment, or the end of an event
		}
		var event gateway.Event
		if err := json.Unmarshal(data, &event); err != nil {
			return err
		}
		switch {
		case event.Operation != nil:
			fmt.Println("event:", event.Type, event.Operation.Verb, event.Operation.State)
			if event.Operation.Id == operation && event.Operation.State == gateway.OperationStateSUCCEEDED {
				return nil
			}
		case event.Changed != nil:
			fmt.Println("event:", event.Type, event.Vm.Id, *event.Changed)
		}
	}
	return errors.Join(errors.New("the stream has ended early"), lines.Err())
}

// endregion
