package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/usher-sidecar/usher/test/full"
)

// Requests that a model server keeps running after their clients have left show up at
// Usher as orphans, some seconds later and from nothing but the server's own figures.
func TestDeafModelServersShowUp(t *testing.T) {
	full.Only(t)
	t.Parallel()
	o, err := parse([]string{"-deaf", "2"}, nil)
	require.NoError(t, err)
	w, err := build(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	require.NoError(t, w.waitReady(t.Context()))
	c, err := w.newClient(o)
	require.NoError(t, err)
	defer c.http.CloseIdleConnections()
	for range 4 {
		require.NoError(t, c.play(plan{kind: hungUpOn, style: styles[0], due: time.Now()}).err)
	}
	require.Eventually(t, func() bool { return strings.HasSuffix(w.state(), "2 hang-ups ignored, 2 orphans found") }, 90*time.Second, 50*time.Millisecond)
}
