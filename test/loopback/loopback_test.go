package loopback_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

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

// A process that is being started keeps a listener that is closed meanwhile, and the
// server can listen again all the same.
func TestListenAtWaits(t *testing.T) {
	first, err := loopback.Listen()
	require.NoError(t, err)
	address := first.Addr().String()
	file, err := first.(*net.TCPListener).File() // as the other process has it
	require.NoError(t, err)
	require.NoError(t, first.Close())
	_, err = net.Listen("tcp", address)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	time.AfterFunc(20*time.Millisecond, func() { _ = file.Close() })
	again, err := loopback.ListenAt(address)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
