#!/usr/bin/env bash
# check.sh GATEWAY checks the web console: that its sources are sound, that what is built from them is
# what is committed in web/ui/dist, and that it does what it should in a real browser.
# Needs Node, npm and Chromium. UI_KEEP=1 keeps what the gateways wrote, and pictures of what failed.
set -euo pipefail

gateway=$(realpath -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
sources=$PWD/../../web/ui
seconds=360 # for all tests together
dir=$(mktemp -d)
tests=

cleanup() {
  [[ -n $tests ]] && kill -TERM "$tests" 2>/dev/null && wait "$tests" || true
  [[ -n ${UI_KEEP:-} ]] && echo "console: kept $dir" >&2 || rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for tool in node npm chromium; do
  command -v "$tool" >/dev/null || { echo "console: $tool is missing; on Debian: tools/need.sh $tool" >&2; exit 1; }
done
[[ -x $gateway ]] || { echo "console: there is no $gateway: run make build" >&2; exit 1; }

step() {
  local name=$1
  shift
  if ! "$@" >"$dir/said" 2>&1; then
    cat "$dir/said" >&2
    echo "console: $name: failed" >&2
    exit 1
  fi
  echo "console: $name: ok"
}

install() (
  cd "$1"
  cmp -s package-lock.json node_modules/.installed && return
  npm ci --no-progress && cp package-lock.json node_modules/.installed
)

same() {
  diff -r "$dir/built" "$sources/dist" && return
  echo "What is committed in web/ui/dist is not what its sources give: run npm run build there." >&2
  return 1
}

step "install" install "$sources"
step "install the browser's driver" install .
cd "$sources"
step "types" npm run --silent check
step "units" npm test --silent
step "build" npm run --silent build -- --outDir "$dir/built" --emptyOutDir --logLevel warn
step "the build is what is committed" same
cd - >/dev/null

# timeout makes a process group of all that is started here, and ends it as a whole.
GATEWAY=$gateway UI_DIR=$dir timeout --kill-after=5 "$seconds" \
  node --test --test-concurrency=2 --test-reporter=spec ./*.test.js >"$dir/report" 2>&1 &
tests=$!
status=0
wait "$tests" || status=$?
tests=
if [[ $status -ne 0 ]]; then
  cat "$dir/report" >&2
  [[ $status -eq 124 ]] && echo "console: not done within $seconds s" >&2
  exit 1
fi
sed -n 's/^✔ /console: /p' "$dir/report"
