module vmgateway/clients/go

go 1.26

require github.com/oapi-codegen/nullable v1.1.0
