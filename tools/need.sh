#!/usr/bin/env bash
# need.sh COMMAND... makes sure that each command is there. As root on Debian it installs what is
# missing; otherwise it says what to install, and fails.
set -euo pipefail

missing=()
for command in "$@"; do
  type -P "$command" >/dev/null || missing+=("$command")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

# Debian's own Go and Node may be too old, so those two are for people to choose.
case " ${missing[*]} " in
  *" go "*) echo "Go is missing: install the version that go.mod names, or a later one." >&2 && exit 1 ;;
  *" node "*) echo "Node is missing: install version 20.19 or later, with npm." >&2 && exit 1 ;;
esac
if [[ $EUID -ne 0 ]] || ! type -P apt-get >/dev/null; then
  echo "Missing: ${missing[*]}. On Debian: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
[[ " ${missing[*]} " == *" gcc "* ]] && missing+=(libc6-dev) # the headers, which gcc only recommends
echo "Installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
