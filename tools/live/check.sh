#!/usr/bin/env bash
# check.sh GATEWAY tests the binary from outside: streams that break, backends that go away, clients
# that are slow or killed, and a gateway that is killed, with a store in Redis and without one.
# Needs Node, npm and redis-server. LIVE_KEEP=1 keeps what the processes wrote.
set -euo pipefail

gateway=$(realpath -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=115 # for all tests together
dir=$(mktemp -d)
tests=

cleanup() {
  [[ -n $tests ]] && kill -TERM "$tests" 2>/dev/null && wait "$tests" || true
  [[ -n ${LIVE_KEEP:-} ]] && echo "live test: kept $dir" >&2 || rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for tool in node npm redis-server; do
  command -v "$tool" >/dev/null || { echo "live test: $tool is missing; on Debian: tools/need.sh $tool" >&2; exit 1; }
done
[[ -x $gateway ]] || { echo "live test: there is no $gateway: run make build" >&2; exit 1; }
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-progress >"$dir/npm.log" 2>&1 || { cat "$dir/npm.log" >&2; echo "live test: the client cannot be installed" >&2; exit 1; }
  cp package-lock.json node_modules/.installed
fi

# timeout makes a process group of all that is started here, and ends it as a whole.
GATEWAY=$gateway LIVE_DIR=$dir timeout --kill-after=5 "$seconds" \
  node --test --test-concurrency=4 --test-reporter=spec ./*.test.js >"$dir/report" 2>&1 &
tests=$!
status=0
wait "$tests" || status=$?
tests=
if [[ $status -ne 0 ]]; then
  cat "$dir/report" >&2
  for log in "$dir"/*.log; do
    [[ -s $log && $log != *-cloud.log ]] && printf -- '--- %s\n%s\n' "${log##*/}" "$(tail -n 15 "$log")" >&2
  done
  [[ $status -eq 124 ]] && echo "live test: not done within $seconds s" >&2
  exit 1
fi
sed -n 's/^✔ /live test: /p' "$dir/report"
