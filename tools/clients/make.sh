#!/usr/bin/env bash
# Makes the clients that the examples use from openapi.yaml: examples/go/gateway/client.go and
# examples/javascript/gateway.d.ts. Which generator, and which version, is said by go.mod and
# package.json there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../examples"

echo "clients: Go"
(cd go && go generate ./...)

echo "clients: TypeScript"
cd javascript
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-progress --silent
  cp package-lock.json node_modules/.installed
fi
npm run --silent client >/dev/null
