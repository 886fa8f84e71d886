package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpAndMisuse(t *testing.T) {
	for line, want := range map[string]int{
		"help": exitOK, "-h": exitOK, "--help": exitOK, "verify -h": exitOK, "healthcheck --help": exitOK, "top -h": exitOK,
		"verify x": exitFault, "drain now": exitFault, "version -x": exitFault, "start": exitFault, "top -x": exitFault, "help me": exitFault,
	} {
		var out, faults bytes.Buffer
		require.Equal(t, want, run(strings.Fields(line), nil, nil, &out, &faults), line)
		if want == exitFault {
			out, faults = faults, out
		}
		require.Contains(t, out.String(), "usher", line)
		require.Empty(t, faults.String(), line)
	}
}
