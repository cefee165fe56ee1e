package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/template"

	"go.uber.org/zap"

	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// demoInfo is what -demo-info writes: everything a test or a third-party client needs to find its way.
type demoInfo struct {
	URL      string        `json:"url"`
	Backends []demoBackend `json:"backends"`
}

type demoBackend struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind"`
	Endpoint string     `json:"endpoint"`
	Users    []demoUser `json:"users"`
}

type demoUser struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Role     string `json:"role"`
}

// runDemo starts both simulators on loopback, and the gateway in front of them.
func runDemo(ctx context.Context, cfg config, f flags, log *zap.Logger, stdout io.Writer) error {
	one, err := startOneSim(f.demoVMs)
	if err != nil {
		return fmt.Errorf("OpenNebula simulator: %w", err)
	}
	defer one.Close()
	xen, err := startXenSim(f.demoVMs)
	if err != nil {
		return fmt.Errorf("XenAPI simulator: %w", err)
	}
	defer xen.Close()

	info := demoInfo{Backends: []demoBackend{
		{ID: "one", Kind: "opennebula", Endpoint: one.URL()},
		{ID: "xen", Kind: "xenapi", Endpoint: xen.URL()},
	}}
	for _, u := range one.Users() {
		if u.Name == "serveradmin" {
			continue // serves Sunstone with tickets of its own, and has no password to log in with
		}
		info.Backends[0].Users = append(info.Backends[0].Users, demoUser{u.Name, u.Password, oneRole(u)})
	}
	for _, u := range xen.Users() {
		info.Backends[1].Users = append(info.Backends[1].Users, demoUser{u.Name, u.Password, u.Role})
	}
	for _, b := range info.Backends {
		cfg.Backends = append(cfg.Backends, backendConfig{
			ID: b.ID, Kind: b.Kind, DisplayName: map[string]string{"one": "OpenNebula (demo)", "xen": "XenAPI (demo)"}[b.ID],
			Endpoints: []string{b.Endpoint},
		})
	}
	s, err := newServer(cfg, log)
	if err != nil {
		return err
	}
	return s.serve(ctx, func(url string) error {
		info.URL = url
		if err := welcome.Execute(stdout, info); err != nil {
			return err
		}
		if f.demoInfo == "" {
			return nil
		}
		return writeInfo(f.demoInfo, info)
	})
}

func oneRole(u onesim.User) string {
	if u.Admin {
		return "admin"
	}
	return "user"
}

func startOneSim(vms int) (*onesim.Server, error) {
	c := onesim.Demo()
	c.VMs = vms
	return onesim.Start(c)
}

func startXenSim(vms int) (*xensim.Server, error) {
	return xensim.Start(xensim.Config{VMs: vms})
}

// writeInfo puts the whole file there at once, so that whoever waits for it never reads half.
func writeInfo(path string, info demoInfo) error {
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".demo-info-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(append(text, '\n'))
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name()) // the first error is the one to tell
	}
	return err
}

var welcome = template.Must(template.New("welcome").Parse(`{{define "login"}}{"backend":"{{.ID}}","username":"{{(index .Users 0).Username}}","password":"{{(index .Users 0).Password}}"}{{end -}}
The gateway serves two simulated clouds at {{.URL}}
  Web console    {{.URL}}/
  API reference  {{.URL}}/docs
{{range .Backends}}  {{.ID}}  {{.Kind}} at {{.Endpoint}}
{{range .Users}}       {{printf "%-12s" .Username}} {{printf "%-14s" .Password}} {{.Role}}
{{end}}{{end}}
Try it:

  URL={{.URL}}
  TOKEN=$(curl -s $URL/sessions -H 'Content-Type: application/json' \
    -d '{{template "login" index .Backends 0}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  curl -s $URL/sessions/current/logins -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{{template "login" index .Backends 1}}'
  curl -s "$URL/vms?fields=displayName,state" -H "Authorization: Bearer $TOKEN"
  VM=$(curl -sG $URL/vms -d pageSize=1 -d fields=id --data-urlencode 'filter=state="STOPPED"' \
    -H "Authorization: Bearer $TOKEN" | sed 's/.*"id":"\([^"]*\)".*/\1/')
  curl -s -X POST $URL/vms/$VM:start -H "Authorization: Bearer $TOKEN"

Stop with Ctrl-C.
`))
