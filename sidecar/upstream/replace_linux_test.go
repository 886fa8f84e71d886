package upstream

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// deafAddress listens at an address where a connect gets no answer: its backlog is full.
func deafAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	at, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}).String()
	for range 10 {
		nc, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = nc.Close() })
	}
	t.Fatal("the backlog does not fill up")
	return ""
}

// A Cancel ends the connecting by which a dead connection is replaced: the client's place
// is not held until the connect times out. The error says that nothing was sent, so that
// the ticket stays good.
func TestCancelWhileReplacing(t *testing.T) {
	m := listen(t, "tcp", func(p *peer) { _ = p.gone() })
	c := connect(t, m, nil)
	cn := acquire(t, c)
	c.o.Address = deafAddress(t)
	c.dialer.Timeout = time.Minute
	replaced := make(chan error, 1)
	go func() { replaced <- cn.replace() }()
	require.Eventually(t, func() bool { return cn.redial.Load() != nil }, 10*time.Second, time.Millisecond)
	cn.Cancel()
	select {
	case err := <-replaced:
		require.ErrorIs(t, err, ErrCanceled)
		require.ErrorIs(t, cn.explain(err), ErrUnreachable)
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on connecting")
	}
	cn.Release()
}
