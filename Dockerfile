# syntax=docker/dockerfile:1
#
#   docker build -t usher --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) .
#
# The binary depends on the sources, the arguments and the toolchain alone: the
# same commit makes the same bytes, here and by `make release`.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=(devel)
ARG COMMIT=unknown
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X 'main.number=${VERSION}' -X 'main.commit=${COMMIT}'" -o /usher ./cmd/usher
# Where a volume for USHER_STATE_FILE is mounted: it has to be the user's, and
# group 0's, which OpenShift gives to the user of its choice.
RUN mkdir -p -m 775 /empty/lib/usher

FROM scratch
ARG VERSION=(devel)
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="usher" \
      org.opencontainers.image.description="Lets in the requests that the autoscaler signed for this worker: each once, in order, streamed" \
      org.opencontainers.image.source="https://github.com/usher-sidecar/usher" \
      org.opencontainers.image.documentation="https://github.com/usher-sidecar/usher/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
# For a key that is fetched by https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:0 /empty /var
COPY --from=build /usher /usher
USER 65532:65532
EXPOSE 3000 9090
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/usher", "healthcheck"]
ENTRYPOINT ["/usher"]
