#!/usr/bin/env bash
# check.sh [RELEASED CONTRACT CHANGELOG] compares the contract with the one that was released last,
# and fails when a client of that one could break and the changelog does not say so: the "Unreleased"
# section has to hold, for each such change, the line that this script prints for it.
#
# levels.txt is stricter than the tool: a member that a reply may leave out, a default, and the name
# that generated clients call an operation by are relied on too.
#
# Whoever releases copies openapi.yaml to testdata/released/openapi.yaml.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
oasdiff=github.com/oasdiff/oasdiff@v1.35.0
released=${1:-$root/testdata/released/openapi.yaml}
contract=${2:-$root/openapi.yaml}
changelog=${3:-$root/CHANGELOG.md}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One list item a change: what the changelog needs, word for word.
cat >"$work/lines.md" <<'END'
{{range pathGroups .GroupedChanges}}{{$at := printf "%s %s" .Group.Operation .Group.Path}}{{range .Changes}}- {{$at}} {{.Text}}
{{end}}{{end}}{{range sectionGroups .GroupedChanges}}{{$at := .Group.Section}}{{range .Changes}}- {{$at}} {{.Text}}
{{end}}{{end}}
END
awk '/^## \[/ { on = /^## \[Unreleased\]/ } on' "$changelog" >"$work/unreleased"
[[ -s $work/unreleased ]] || { echo "breaking changes: $changelog has no section [Unreleased]" >&2; exit 1; }

status=0
go run "$oasdiff" breaking "$released" "$contract" --fail-on WARN --allow-external-refs=false \
  --severity-levels "$root/tools/breaking/levels.txt" \
  --err-ignore "$work/unreleased" --warn-ignore "$work/unreleased" \
  --format markdown --template "$work/lines.md" >"$work/found" 2>"$work/said" || status=$?
if [[ $status -ne 0 ]]; then
  grep -v '^exit status' "$work/said" >&2 || true
  if grep '^- ' "$work/found" >&2; then
    echo "breaking changes: undo them, or put these lines into the [Unreleased] section of CHANGELOG.md" >&2
  fi
  exit 1
fi
echo "breaking changes: none that the changelog does not name"
