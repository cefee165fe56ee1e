#!/usr/bin/env bash
# Makes what is generated of the clients from openapi.yaml: clients/go/api.gen.go, clients/typescript/schema.d.ts,
# and what TypeScript makes of the source beside that, clients/typescript/dist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

echo "clients: Go"
(cd go && go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config config.yaml ../../../openapi.yaml)

echo "clients: TypeScript"
cd ../../clients/typescript
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-progress --silent
  cp package-lock.json node_modules/.installed
fi
npm run --silent schema >/dev/null
rm -rf dist
npm run --silent build
