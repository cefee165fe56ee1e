#!/usr/bin/env bash
# check.sh GATEWAY makes the clients anew, which has to change nothing; checks and tests them; and runs each example
# at both backends of a demo: it has to list, to move a VM, and to see in the events that it was moved.
# Needs Go, Node, npm and Python.
set -euo pipefail

gateway=$(realpath -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=60 # for each step of an example
dir=$(mktemp -d)
pid=

stop() {
  [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null && wait "$pid" || true
  pid=
}
cleanup() {
  stop
  rm -rf "$dir"
}
trap cleanup EXIT
fail() { echo "clients: $*" >&2; exit 1; }

step() { # NAME COMMAND...
  "${@:2}" >"$dir/said" 2>&1 || { cat "$dir/said" >&2; fail "$1: failed"; }
  echo "clients: $1"
}

# A demo of its own for each who logs in often: attempts are limited for each client.
demo() {
  stop
  rm -f "$dir/info.json"
  "$gateway" -demo -listen 127.0.0.1:0 -demo-info "$dir/info.json" >"$dir/gateway.log" 2>&1 &
  pid=$!
  for ((i = 0; i < seconds * 10; i++)); do
    [[ -s $dir/info.json ]] && break
    kill -0 "$pid" 2>/dev/null || { cat "$dir/gateway.log" >&2; fail "the gateway ended before it was ready"; }
    sleep 0.1
  done
  [[ -s $dir/info.json ]] || fail "the gateway was not ready within $seconds s"
  url=$(sed -n 's/^  "url": "\(.*\)",$/\1/p' "$dir/info.json")
}
export DEMO_INFO=$dir/info.json

# What is committed is what the generators make.
made=(clients/go/api.gen.go clients/typescript/schema.d.ts clients/typescript/dist)
sums() { find "${made[@]}" -type f -exec sha256sum {} + | sort -k 2; }
before=$(sums)
step "made by the generators" tools/clients/make.sh
[[ $(sums) == "$before" ]] || fail "the contract has changed: run make clients, and commit what it writes"

step "Go: checked" go -C clients/go vet ./...
demo
step "Go: tested" go -C clients/go test -count=1 ./...
step "TypeScript: checked" npm --prefix clients/typescript run --silent check
demo
step "TypeScript: tested" npm --prefix clients/typescript test
if ! cmp -s tools/clients/package-lock.json tools/clients/node_modules/.installed; then
  step "tools installed" npm --prefix tools/clients ci --no-progress
  cp tools/clients/package-lock.json tools/clients/node_modules/.installed
fi
step "Python: checked" tools/clients/node_modules/.bin/pyright --project clients/python
demo
step "Python: tested" env -C clients/python PYTHONDONTWRITEBYTECODE=1 python3 -W error -m unittest tests/test_vmgateway.py

example() { # NAME BACKEND USER PASSWORD COMMAND...
  local name=$1 backend=$2 user=$3
  GATEWAY_PASSWORD=$4 timeout "$seconds" "${@:5}" "$url" "$backend" "$user" >"$dir/said" 2>&1 ||
    { cat "$dir/said" >&2; fail "$name at $backend: failed"; }
  local vm
  vm=$(sed -n 's/^migrated: \([^ ]*\) to .*/\1/p' "$dir/said")
  grep -q "^running: $backend\." "$dir/said" && [[ $vm == "$backend".* ]] &&
    grep -q "^event: vm.changed $vm" "$dir/said" && grep -q '^event: operation.changed migrate SUCCEEDED$' "$dir/said" ||
    { cat "$dir/said" >&2; fail "$name at $backend: did not see $vm move"; }
  # A refusal is told by its code, without a trace of the program.
  ! GATEWAY_PASSWORD=wrong timeout "$seconds" "${@:5}" "$url" "$backend" "$user" >"$dir/said" 2>&1 &&
    [[ $(cat "$dir/said") == "migrate: UNAUTHENTICATED: "* ]] ||
    { cat "$dir/said" >&2; fail "$name at $backend: a wrong password is not told"; }
  echo "clients: the example in $name at $backend: listed, migrated and saw it"
}
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PWD/clients/python
step "Go: the example" go -C examples/go vet .
go -C examples/go build -o "$dir/migrate" .
step "JavaScript: the client installed" npm --prefix examples/javascript ci --no-progress # as it is now
step "JavaScript: the example" npm --prefix examples/javascript run --silent check
demo
for language in "Go:$dir/migrate" "Python:python3 -W error examples/python/migrate.py" "JavaScript:node examples/javascript/migrate.js"; do
  read -ra command <<<"${language#*:}"
  example "${language%%:*}" one oneadmin opennebula "${command[@]}"
  example "${language%%:*}" xen root xenroot "${command[@]}"
done
