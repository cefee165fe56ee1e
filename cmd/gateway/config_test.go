package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, yaml string, environ []string, args ...string) (config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parseFlags(append([]string{"-config", path}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return loadConfig(f, environ)
}

const goodBackend = `
backends:
  - id: one
    kind: opennebula
    endpoints: [http://127.0.0.1:2633/RPC2]
`

func TestConfigMerges(t *testing.T) {
	cfg, err := load(t, goodBackend+`
listen: 127.0.0.1:1
log: {level: warn}
sessions: {idle: 30m}
`, []string{"VMGATEWAY_LISTEN=127.0.0.1:2", "VMGATEWAY_SESSIONS_ABSOLUTE=12h", "VMGATEWAY_CORS_ORIGINS=https://a.example,https://b.example", "HOME=/root"},
		"-listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != "127.0.0.1:3" {
		t.Errorf("listen: %s: a flag wins over environment and file", cfg.Listen)
	}
	if cfg.Sessions.Absolute != 12*time.Hour || cfg.Sessions.Idle != 30*time.Minute || cfg.Log.Level != "warn" || cfg.Log.Format != "json" {
		t.Errorf("merged: %+v %+v", cfg.Sessions, cfg.Log)
	}
	if len(cfg.CORS.Origins) != 2 || cfg.CORS.Origins[1] != "https://b.example" {
		t.Errorf("origins: %q", cfg.CORS.Origins)
	}
}

// TestConfigTellsAllMistakes: whoever corrects a configuration does not want to start ten times.
func TestConfigTellsAllMistakes(t *testing.T) {
	_, err := load(t, `
listen: nowhere
log: {level: loud, format: xml}
tls: {certFile: cert.pem}
store: {url: 'disk:/x'}
sessions: {idle: 1s, absolute: 0s, sealingKey: short}
logins: {perMinute: 0}
mirror: {maxVms: 0}
cors: {origins: ["*"]}
trustedProxies: [10.0.0.1]
timeouts: {read: -1s}
backends:
  - {id: One, kind: vmware, endpoints: []}
  - {id: two, kind: opennebula, endpoints: ["ftp://x", "http://user:pw@host/RPC2"], maxConnections: 15, tls: {caFile: /nowhere.pem}}
  - {id: two, kind: xenapi, endpoints: ["https://host"], tls: {pinSha256: AAAA}}
`, []string{"VMGATEWAY_FROB=1"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"VMGATEWAY_FROB", "listen:", "log.level:", "log.format:", "tls:", "store.url:", "sessions.idle:", "sessions.absolute:",
		"sessions: the sealing key", "logins.perMinute:", "mirror.maxVms:", "cors.origins[0]:", "trustedProxies[0]:", "timeouts.read:",
		"backends[0].id:", "backends[0].kind:", "backends[0].endpoints:", "backends[1].endpoints[0]:", "backends[1].endpoints[1]:",
		"backends[1].maxConnections:", "backends[1].tls:", "backends[2].id:", "backends[2].tls:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not tell of %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "user:pw") || strings.Contains(err.Error(), "short") {
		t.Errorf("tells a secret:\n%v", err)
	}
}

func TestConfigIsStrict(t *testing.T) {
	for _, yaml := range []string{
		goodBackend + "lisen: 127.0.0.1:1\n",
		goodBackend + "sessions: {idel: 1h}\n",
		"backends:\n  - {id: one, kind: opennebula, endpoints: [http://h/RPC2], frob: 1}\n",
		goodBackend + "sessions: {idle: soon}\n",
		goodBackend + "Listen: 127.0.0.1:1\n",
		"backends: 7\n",
		": : :",
	} {
		if _, err := load(t, yaml, nil); err == nil {
			t.Errorf("accepted:\n%s", yaml)
		}
	}
}

func TestSealingKey(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []sessionConfig{{SealingKey: key}, {SealingKeyFile: file}} {
		if got, err := c.key(); err != nil || len(got) != 32 || got[0] != 7 {
			t.Errorf("key: %v", err)
		}
	}
	if _, err := (sessionConfig{SealingKey: key, SealingKeyFile: file}).key(); err == nil {
		t.Error("both were accepted")
	}
	a, errA := sessionConfig{}.key()
	b, errB := sessionConfig{}.key()
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Error("the keys that are made are not random")
	}
}

func TestCheckConfig(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-check-config", "-config", "../../deploy/gateway.example.yaml"}, func() []string { return nil }, &out, io.Discard)
	if err != nil || !strings.Contains(out.String(), "The configuration is good") {
		t.Errorf("the example: %v %s", err, out.String())
	}
	for _, args := range [][]string{{"-check-config"}, {"-config", "/nowhere.yaml"}, {"-frob"}, {"-demo", "-config", "x"}, {"surplus"}, {"-demo", "-demo-vms", "-1"}} {
		if err := run(context.Background(), args, func() []string { return nil }, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
