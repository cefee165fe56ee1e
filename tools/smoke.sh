#!/usr/bin/env bash
# smoke.sh GATEWAY starts the demo, pastes the session that it prints into a shell, looks whether
# that did what it says, and stops the gateway as a service manager would.
set -euo pipefail

gateway=$1
seconds=60 # for each step; the demo is up in a fraction of that
dir=$(mktemp -d)
pid=

fail() {
  echo "smoke test: $*" >&2
  for file in stdout stderr session.out; do
    [[ -s $dir/$file ]] && printf -- '--- %s\n%s\n' "$file" "$(tail -n 40 "$dir/$file")" >&2
  done
  exit 1
}

cleanup() {
  [[ -n $pid ]] && kill -KILL "$pid" 2>/dev/null
  rm -rf "$dir"
}
trap cleanup EXIT

running() { kill -0 "$pid" 2>/dev/null; }

if ldd "$gateway" >/dev/null 2>&1; then fail "$gateway is not a static binary"; fi

"$gateway" -demo -listen 127.0.0.1:0 -demo-info "$dir/info.json" >"$dir/stdout" 2>"$dir/stderr" &
pid=$!
for ((i = 0; i < seconds * 10; i++)); do
  [[ -s $dir/info.json ]] && break
  running || fail "the gateway ended before it was ready"
  sleep 0.1
done
[[ -s $dir/info.json ]] || fail "the gateway was not ready within $seconds s"

# The session, as it is printed: between "Try it" and "Stop with".
sed -n '/^Try it/,/^Stop with/p' "$dir/stdout" | sed '1d;$d' >"$dir/session.sh"
[[ -s $dir/session.sh ]] || fail "the gateway printed no session"
cat >>"$dir/session.sh" <<'END'
printf '\nSMOKE %s\nSMOKE %s\nSMOKE %s\n' "$URL" "$TOKEN" "$VM"
END
timeout "$seconds" bash -euo pipefail "$dir/session.sh" >"$dir/session.out" 2>&1 || fail "the printed session fails"
mapfile -t values < <(sed -n 's/^SMOKE //p' "$dir/session.out")
url=${values[0]:-} token=${values[1]:-} vm=${values[2]:-}

grep -q '"retryable"' "$dir/session.out" && fail "a call of the printed session was refused"
[[ $token =~ ^[A-Za-z0-9_-]{43}$ ]] || fail "the session got no token"
[[ $vm =~ ^[a-z][a-z0-9-]*\.[A-Za-z0-9-]+$ ]] || fail "the session found no VM to start"
grep -Eq '"vms": ?\[\{' "$dir/session.out" || fail "the session's list is empty"
grep -Eq '"verb": ?"start"' "$dir/session.out" || fail "the session started nothing"

# The truth is in the VM, not in the reply.
for ((i = 0; i < seconds * 2; i++)); do
  state=$(curl -sS --max-time 10 "$url/vms/$vm?fields=state" -H "Authorization: Bearer $token")
  [[ $state =~ \"state\":\ ?\"RUNNING\" ]] && break
  sleep 0.5
done
[[ $state =~ \"state\":\ ?\"RUNNING\" ]] || fail "$vm was started but does not run: $state"

"$gateway" -demo -health-check -listen "${url#http://}" || fail "the health check fails"
grep -qF -- "$token" "$dir/stderr" && fail "the log holds the token"

kill -TERM "$pid"
for ((i = 0; i < seconds * 10; i++)); do
  running || break
  sleep 0.1
done
running && fail "the gateway did not stop within $seconds s"
status=0
wait "$pid" || status=$?
pid=
[[ $status -eq 0 ]] || fail "the gateway ended with status $status"
echo "smoke test: the printed session works, $vm runs, the gateway stopped cleanly"
