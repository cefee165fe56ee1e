#!/usr/bin/env bash
# Shows that check.sh tells: it breaks copies of the released contract, each in a way of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
released=../../testdata/released/openapi.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "breaking changes: $*" >&2; cat "$work/said" >&2; exit 1; }

changelog() { printf '# Changelog\n\n## [Unreleased]\n\n%s\n\n## [0.1.0]\n\n%s\n' "$1" "${2:-}" >"$work/CHANGELOG.md"; }
check() { ./check.sh "$released" "$work/openapi.yaml" "$work/CHANGELOG.md" >"$work/said" 2>&1; }

cp "$released" "$work/openapi.yaml"
changelog "- Nothing."
check || fail "a copy without a change is refused"

# broken NAME AWK: the copy is refused; it passes once the changelog says what check.sh printed, but
# not when a section of an earlier release says it.
broken() {
  awk "$2" "$released" >"$work/openapi.yaml"
  ! cmp -s "$released" "$work/openapi.yaml" || fail "$1: nothing was broken"
  changelog "- Nothing."
  if check; then fail "$1: not refused"; fi
  local lines
  lines=$(grep '^- ' "$work/said") || fail "$1: refused without a line for the changelog"
  changelog "- Nothing." "$lines"
  if check; then fail "$1: let through by what an earlier release said"; fi
  changelog "$lines"
  check || fail "$1: refused although the changelog names it"
}

broken "a verb is gone" \
  '/^  \/vms\/{vm}:pause:/ { skip = 1 } /^  \/vms\/{vm}:unpause:/ { skip = 0 } !skip'
broken "an operation has another name" \
  '{ sub("operationId: vmPause$", "operationId: pauseVm"); print }'
broken "a body needs one member more" \
  '/^    ModeArgs:/ { on = 1 } { print } on && /^      type: object/ { print "      required: [mode]"; on = 0 }'
broken "a reply has one member less" \
  '/^    Operation:/ { on = 1 } on && /^        endTime:/ { on = 0; next } { print }'
broken "a member that is always there has another name" \
  '/^    Operation:/ { on = 1 } on && /^        cancellable:/ { sub("cancellable", "canBeCancelled"); on = 0 } { print }'
broken "a member has another type" \
  '/^    Operation:/ { on = 1 } on && /^          type: number/ { sub("number", "string"); on = 0 } { print }'
echo "breaking changes: what removes, renames, asks for more or changes a type is refused"
