# What people and CI do here; `make` lists it.

LINTER   := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GO_FILES := find . -name node_modules -prune -o -name '*.go' -print

.DEFAULT_GOAL := help
.PHONY: help run test build ui clients bench lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: ## Start the gateway with both simulators (more flags: ARGS="-demo-vms 1000")
	go run ./cmd/gateway -demo $(ARGS)

test: build ## Check everything: Go, the contract, the demo (race detector: TESTFLAGS=-race)
	tools/need.sh node npm python3 curl redis-server chromium
	@files=$$($(GO_FILES) | xargs gofmt -l) && test -z "$$files" || { echo "Run gofmt -w on:" $$files >&2; exit 1; }
	go vet ./...
	go test -timeout 30m $(TESTFLAGS) ./...
	tools/contract/check.sh
	tools/breaking/test.sh
	tools/breaking/check.sh
	tools/smoke.sh bin/gateway
	tools/guide/check.sh bin/gateway
	tools/clients/check.sh bin/gateway
	tools/prism/check.sh bin/gateway
	tools/live/check.sh bin/gateway
	tools/ui/check.sh bin/gateway

build: ## Build the static binary bin/gateway
	tools/need.sh go
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/gateway ./cmd/gateway

ui: ## Build the web console anew, into web/ui/dist, which is committed
	tools/need.sh node npm
	cd web/ui && npm ci --no-progress && npm run --silent check && npm run --silent build

clients: ## Make the clients anew from the contract, into clients, which is committed
	tools/need.sh go node npm
	tools/clients/make.sh

bench: build ## Measure: the gateway against direct calls, lists, 1,000 listeners, the hot pieces (about 7 min)
	go test ./internal/bench -run '^$$' -bench . -timeout 15m $(BENCHFLAGS) -gateway '$(CURDIR)/bin/gateway'
	go test -run '^$$' -bench . ./internal/backends/... ./internal/feed

lint: ## Read the Go code with golangci-lint
	go run $(LINTER) run

clean: ## Remove what was built
	rm -rf bin tools/contract/node_modules tools/live/node_modules \
		tools/clients/node_modules clients/typescript/node_modules examples/javascript/node_modules \
		tools/ui/node_modules web/ui/node_modules
