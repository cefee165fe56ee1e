#!/usr/bin/env bash
# check.sh GATEWAY holds the gateway against its contract a second time, with a validator that shares
# nothing with the one inside: Prism stands between a session (session.js) and a demo, and checks every
# request and every reply. Needs Node; Prism is among the tools of tools/contract.
set -euo pipefail

gateway=$(realpath -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
contract=$PWD/../../openapi.yaml
tools=../contract
seconds=120 # for each step
dir=$(mktemp -d)
pids=()

cleanup() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
fail() { echo "prism: $*" >&2; exit 1; }

if ! cmp -s $tools/package-lock.json $tools/node_modules/.installed; then
  (cd $tools && npm ci --no-progress) >"$dir/npm.log" 2>&1 || { cat "$dir/npm.log" >&2; fail "the tools cannot be installed"; }
  cp $tools/package-lock.json $tools/node_modules/.installed
fi

until_said() { # PID FILE TEXT: waits until a process has written a text
  for ((i = 0; i < seconds * 10; i++)); do
    grep -q "$3" "$2" 2>/dev/null && return
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$2" >&2
  fail "never said \"$3\": $2"
}

"$gateway" -demo -listen 127.0.0.1:0 -demo-info "$dir/info.json" >"$dir/gateway.log" 2>&1 &
pids+=($!)
until_said $! "$dir/gateway.log" 'Stop with Ctrl-C'
until_said $! "$dir/info.json" '"url"'
url=$(sed -n 's/^  "url": "\(.*\)",$/\1/p' "$dir/info.json")

prism() { # CONTRACT NAME: starts one, and says where in $at
  local port
  port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
  node $tools/node_modules/@stoplight/prism-cli/dist/index.js proxy "$1" "$url" --host 127.0.0.1 --port "$port" >"$dir/$2.log" 2>&1 &
  pids+=($!)
  at=http://127.0.0.1:$port
}

# Of a contract in which no VM can be RUNNING, violations have to be found, or none ever are.
sed '/^    State:/,/^        - RUNNING$/{/^        - RUNNING$/d}' "$contract" >"$dir/broken.yaml"
! cmp -s "$contract" "$dir/broken.yaml" || fail "the contract could not be broken"
prism "$contract" prism
good=$at good_pid=$!
prism "$dir/broken.yaml" broken
broken=$at
until_said $! "$dir/broken.log" 'is listening'
until_said "$good_pid" "$dir/prism.log" 'is listening'

if timeout "$seconds" node session.js "$broken" "$dir/info.json" read >"$dir/said" 2>&1; then
  fail "no violation was found of a contract that is wrong"
fi
grep -q 'response.body.*equal to one of the allowed values' "$dir/said" || { cat "$dir/said" >&2; fail "a wrong contract was not noticed by what is wrong with it"; }
timeout "$seconds" node session.js "$good" "$dir/info.json" >"$dir/said" 2>&1 || { cat "$dir/said" >&2; fail "the gateway and its contract do not agree"; }
echo "prism: $(cat "$dir/said")"
