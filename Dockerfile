# The gateway in an image of its own: one static binary, and the authorities that backends with
# TLS are checked by.
#
#   docker build -t vmgateway .
#   docker run --rm -p 127.0.0.1:8080:8080 -v ./gateway.yaml:/etc/vmgateway/gateway.yaml:ro vmgateway
#   docker run --rm -p 127.0.0.1:8080:8080 --no-healthcheck vmgateway -demo

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# All of the repository, with .git: `gateway -version` names the commit it was built from.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/gateway ./cmd/gateway

# From scratch: no shell, no package manager, no second image to keep up to date.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/gateway /gateway
USER 65532:65532
# Loopback, the default, cannot be reached from outside of a container. This wins over the file.
ENV VMGATEWAY_LISTEN=:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["/gateway", "-health-check", "-config", "/etc/vmgateway/gateway.yaml"]
ENTRYPOINT ["/gateway"]
CMD ["-config", "/etc/vmgateway/gateway.yaml"]
