#!/usr/bin/env bash
# check.sh GATEWAY makes the clients, checks the examples against them, and runs each example at both
# backends of a demo: it has to list, to move a VM, and to see in the events that it was moved.
# Needs Go, Node, npm and Python.
set -euo pipefail

gateway=$(realpath -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../../examples"
seconds=60 # for each step
dir=$(mktemp -d)
pid=

cleanup() {
  [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null && wait "$pid" || true
  rm -rf "$dir"
}
trap cleanup EXIT
fail() { echo "clients: $*" >&2; exit 1; }

step() { # NAME COMMAND...
  "${@:2}" >"$dir/said" 2>&1 || { cat "$dir/said" >&2; fail "$1: failed"; }
}
step "generators" ../tools/clients/make.sh
step "Go" go -C go vet .
step "Go" go -C go build -o "$dir/migrate" .
step "TypeScript" npm --prefix javascript run --silent check

"$gateway" -demo -listen 127.0.0.1:0 -demo-info "$dir/info.json" >"$dir/gateway.log" 2>&1 &
pid=$!
for ((i = 0; i < seconds * 10; i++)); do
  [[ -s $dir/info.json ]] && break
  kill -0 "$pid" 2>/dev/null || { cat "$dir/gateway.log" >&2; fail "the gateway ended before it was ready"; }
  sleep 0.1
done
[[ -s $dir/info.json ]] || fail "the gateway was not ready within $seconds s"
url=$(sed -n 's/^  "url": "\(.*\)",$/\1/p' "$dir/info.json")

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
  echo "clients: $name at $backend: listed, migrated and saw it"
}
for language in "Go:$dir/migrate" "Python:python3 -W error python/migrate.py" "JavaScript:node javascript/migrate.js"; do
  read -ra command <<<"${language#*:}"
  example "${language%%:*}" one oneadmin opennebula "${command[@]}"
  example "${language%%:*}" xen root xenroot "${command[@]}"
done
