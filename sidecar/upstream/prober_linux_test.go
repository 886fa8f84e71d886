package upstream

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/leak"
)

// deaf listens at an address where a connect gets no answer: its backlog is full.
func deaf(t *testing.T) (address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	require.FailNow(t, "the backlog does not fill up")
	return ""
}

// A probe that got no connection leaves no connect under way: the kernel tries for two
// minutes, and a model server whose host is gone is probed every second.
func TestAProbeEndsItsConnect(t *testing.T) {
	before := goleak.IgnoreCurrent()
	p, err := NewProber(ProberOptions{
		Network: "tcp", Address: deaf(t), Host: "model", Path: "/health",
		Interval: time.Second, Timeout: 50 * time.Millisecond, Failures: 3, Report: func(bool, error) {},
	})
	require.NoError(t, err)
	for range 3 {
		require.Error(t, p.probe(t.Context()))
	}
	require.NoError(t, leak.Find(before))
}
