package front

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// patience is for busy machines.
const patience = time.Minute

const okHead = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

// openOn returns the number of open connections of a server that serves.
func openOn(s *Server) int {
	return int(s.http.GetOpenConnectionsCount()) + int(s.lending.lent.Load())
}

// startServer runs a server until the test ends. Times that o does not set are too long
// for any test to reach.
func startServer(t *testing.T, o Options, listening hangup.Options) (s *Server, addr string) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := hangup.Listen(inner, listening)
	require.NoError(t, err)
	o.Closing, o.ReadTimeout, o.MaxConnections = func() bool { return false }, time.Minute, 100
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	s = New(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		ln.Shutdown()
		require.NoError(t, <-served)
	})
	return s, ln.Addr().String()
}
