package loopback_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// An outgoing connection has taken the port of a server that is down. The server can
// still come back, which it could not on a shared address. As the connection comes from
// another address, it can never be connected to itself.
func TestComesBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone answers on all of 127.0.0.0/8; run it there")
	}
	other, err := loopback.Listen()
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	out, err := net.Dial("tcp", other.Addr().String())
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	from, port, err := net.SplitHostPort(out.LocalAddr().String())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", from)
	_, err = net.Listen("tcp", net.JoinHostPort(from, port))
	require.Error(t, err, "the fault is gone that this is for")

	host := loopback.Host()
	require.NotEqual(t, from, host)
	back, err := net.Listen("tcp", net.JoinHostPort(host, port))
	require.NoError(t, err)
	require.NoError(t, back.Close())
}

func TestNobodyIsThere(t *testing.T) {
	address, err := loopback.Address()
	require.NoError(t, err)
	_, err = net.Dial("tcp", address)
	require.Error(t, err)
}
