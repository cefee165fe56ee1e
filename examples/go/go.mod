module migrate

go 1.26

require vmgateway/clients/go v0.0.0

require github.com/oapi-codegen/nullable v1.1.0 // indirect

replace vmgateway/clients/go => ../../clients/go
