// Package gateway is a client of the VM gateway, made from its contract by oapi-codegen:
// `go generate ./...` writes client.go.
package gateway

//go:generate go tool oapi-codegen -config config.yaml ../../../openapi.yaml
