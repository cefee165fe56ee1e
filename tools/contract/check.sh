#!/usr/bin/env bash
# Checks the contract from outside: two linters, and a client in TypeScript and in Go made from it.
# Needs bash, Go, Node and npm. Prints a line a step, and what a step said when it fails.
set -euo pipefail
cd "$(dirname "$0")"

codegen=github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
runtime=github.com/oapi-codegen/runtime@v1.8.0
yaml=go.yaml.in/yaml/v3@v3.0.6
contract=$PWD/../../openapi.yaml

for tool in go node npm; do
  command -v "$tool" >/dev/null || { echo "contract: $tool is needed" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() {
  local name=$1
  shift
  if ! "$@" >"$work/said" 2>&1; then
    cat "$work/said" >&2
    echo "contract: $name: failed" >&2
    exit 1
  fi
  echo "contract: $name: ok"
}

install() {
  npm ci --no-progress && cp package-lock.json node_modules/.installed
}

# The client lives in a module of its own, so that the gateway's go.mod never hears of it.
go_client() (
  cd "$work"
  export GOFLAGS=-mod=mod GOWORK=off
  go mod init gatewayclient &&
    go run "$codegen" -generate types,client -package gatewayclient -o client.go "$contract" &&
    go get "$runtime" "$yaml" &&
    go build ./...
)

export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
cmp -s package-lock.json node_modules/.installed || step "install tools" install
step "spectral" npm run --silent lint:spectral
step "redocly" npm run --silent lint:redocly
step "TypeScript client" npm run --silent client
step "Go client" go_client
