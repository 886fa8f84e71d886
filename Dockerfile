# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=(devel)
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X 'main.number=${VERSION}' -X main.commit=${COMMIT}" -o /usher ./cmd/usher
# Where a volume for USHER_STATE_FILE is mounted: it has to be the user's.
RUN mkdir -p /empty/lib/usher

FROM scratch
# For a key that is fetched by https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /empty /var
COPY --from=build /usher /usher
USER 65532:65532
EXPOSE 3000 9090
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/usher", "healthcheck"]
ENTRYPOINT ["/usher"]
