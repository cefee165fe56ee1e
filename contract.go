// Package vmgateway holds the gateway's contract, and nothing else.
//
// It is the root of the module only because of where openapi.yaml is: the first file that somebody
// looks for should be the first one found, and go:embed cannot look upwards. Everything that reads
// the contract imports this package; it imports nothing of the module.
package vmgateway

import _ "embed"

// OpenAPI is openapi.yaml, byte for byte: an OpenAPI 3.0.3 document. It is the one description of
// what a client may send and will get; requests are checked against it, and GET /openapi.yaml
// answers it. It must not be changed.
//
//go:embed openapi.yaml
var OpenAPI []byte
