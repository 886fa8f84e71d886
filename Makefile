# What is typed often; everything else is the go tool's.
.PHONY: ci fuzz

# All that must hold before a change lands.
ci:
	.ci/run

# Every fuzz target for FUZZTIME: make fuzz FUZZTIME=10m
FUZZTIME ?= 20s
fuzz:
	FUZZTIME=$(FUZZTIME) .ci/fuzz
