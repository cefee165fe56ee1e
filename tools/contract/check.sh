#!/usr/bin/env bash
# Checks the contract from outside, with two linters. (Clients are made from it by tools/clients.)
# Needs bash, Node and npm. Prints a line a step, and what a step said when it fails.
set -euo pipefail
cd "$(dirname "$0")"

for tool in node npm; do
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

export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
cmp -s package-lock.json node_modules/.installed || step "install tools" install
step "spectral" npm run --silent lint:spectral
step "redocly" npm run --silent lint:redocly
