# What is typed often; everything else is the go tool's.
.PHONY: help ci fuzz release

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

ci: ## all that must hold before a change lands
	.ci/run

# Every fuzz target for FUZZTIME: make fuzz FUZZTIME=10m
FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME (10s)
	FUZZTIME=$(FUZZTIME) .ci/fuzz

# What a release consists of, in DIST: binaries of linux amd64 and arm64, the man
# page, a list of all that is inside (SBOM, CycloneDX) and checksums. The
# binaries are the image's, byte for byte (a test holds it): the Dockerfile has
# the same line.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo '(devel)')
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DIST ?= dist
STAMP = -X 'main.number=$(VERSION)' -X 'main.commit=$(COMMIT)'
CYCLONEDX := go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0
release: $(DIST)/usher-linux-amd64 $(DIST)/usher-linux-arm64 ## binaries, man page, SBOM and checksums in DIST (dist)
	GOFLAGS= go run -ldflags "$(STAMP)" ./cmd/usher man >$(DIST)/usher.1
	$(CYCLONEDX) bin -json -licenses -std -noserial -version '$(VERSION)' -output $(DIST)/usher.cdx.json $(DIST)/usher-linux-amd64
	cd $(DIST) && sha256sum usher-linux-amd64 usher-linux-arm64 usher.1 usher.cdx.json >SHA256SUMS

# Always made: the go tool knows better than make what has changed.
.PHONY: FORCE
$(DIST)/usher-linux-%: FORCE
	GOFLAGS= CGO_ENABLED=0 GOOS=linux GOARCH=$* go build -trimpath -buildvcs=false \
	  -ldflags "-s -w -buildid= $(STAMP)" -o $@ ./cmd/usher
