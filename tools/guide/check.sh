#!/usr/bin/env bash
# check.sh GATEWAY runs the commands of docs/guide.md (its blocks "sh") in order in one shell, against
# a demo of its own, and compares what they print with the block that follows at once, if one does.
# White space does not count there, and "…" stands for anything.
set -euo pipefail

gateway=$(realpath -- "$1")
guide=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/../../docs/guide.md")
seconds=60
dir=$(mktemp -d)
pid=

cleanup() {
  [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null && wait "$pid" || true
  rm -rf "$dir"
}
trap cleanup EXIT
fail() { echo "guide: $*" >&2; exit 1; }

"$gateway" -demo -listen 127.0.0.1:0 -demo-info "$dir/info.json" >"$dir/gateway.log" 2>&1 &
pid=$!
for ((i = 0; i < seconds * 10; i++)); do
  [[ -s $dir/info.json ]] && break
  kill -0 "$pid" 2>/dev/null || { cat "$dir/gateway.log" >&2; fail "the gateway ended before it was ready"; }
  sleep 0.1
done
[[ -s $dir/info.json ]] || fail "the gateway was not ready within $seconds s"
url=$(sed -n 's/^  "url": "\(.*\)",$/\1/p' "$dir/info.json")

# One file for each block of commands (NN.sh, with the line it begins at in NN.line), and one for what
# is expected of it (NN.want).
mkdir "$dir/steps" "$dir/shell"
awk -v dir="$dir/steps/" '
  /^```/ && inside { close(file); inside = 0; after = NR + 1; next }
  /^```/ {
    inside = 1
    if ($0 == "```sh") { n = sprintf("%02d", ++count); file = dir n ".sh"; print NR > (dir n ".line") }
    else if (NR == after && $0 != "```" && file ~ /\.sh$/) file = dir n ".want"
    else file = "/dev/null"
    next
  }
  inside { print > file }
' "$guide"

# All blocks in one shell, each with its output in a file of its own.
{
  echo 'trap "kill \$(jobs -p) 2>/dev/null" EXIT' # what the guide leaves running
  for step in "$dir"/steps/*.sh; do
    echo "{ $(sed "s|http://127.0.0.1:8080|$url|g" "$step")"
    echo "} >${step%.sh}.got 2>&1 || { echo \"it ended with status \$?\" >>${step%.sh}.got; exit 1; }"
  done
} >"$dir/all.sh"
(cd "$dir/shell" && timeout "$seconds" bash -uo pipefail "$dir/all.sh") || true

# matches WANT GOT, without white space and with "…" for anything.
matches() {
  local pattern got
  pattern=$(tr -d '[:space:]' <"$1" | sed 's/[^[:alnum:]…]/\\&/g; s/…/*/g')
  got=$(tr -d '[:space:]' <"$2")
  # shellcheck disable=SC2053 # the right side is a pattern
  [[ $got == $pattern ]]
}

count=0
for step in "$dir"/steps/*.sh; do
  base=${step%.sh}
  line=$(cat "$base.line")
  [[ -e $base.got ]] || fail "line $line: not reached within $seconds s"
  if [[ -e $base.want ]]; then
    matches "$base.want" "$base.got" || fail "line $line: expected
$(cat "$base.want")
--- but got
$(cat "$base.got")"
  elif grep -q '^it ended with status' "$base.got"; then
    fail "line $line: $(cat "$base.got")"
  fi
  count=$((count + 1))
done
((count > 10)) || fail "only $count blocks of commands were found"
echo "guide: $count blocks of commands do what docs/guide.md says"
