package hangup

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenWantsTCPAndSaneOptions(t *testing.T) {
	unixListener, err := net.Listen("unix", t.TempDir()+"/socket")
	require.NoError(t, err)
	defer unixListener.Close()
	_, err = Listen(unixListener, Options{})
	require.ErrorIs(t, err, ErrListener)

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer inner.Close()
	for _, o := range []Options{{MaxConnections: -1}, {MaxPerIP: -1}, {WriteTimeout: -1}} {
		_, err = Listen(inner, o)
		require.ErrorIs(t, err, ErrOptions)
	}
}

func TestAtTheLimitAcceptWaitsUntilAConnectionCloses(t *testing.T) {
	const limit, clients = 3, 9
	ln := listen(t, Options{MaxConnections: limit})
	for range clients {
		dial(t, ln) // they wait in the backlog
	}
	type arrival struct {
		conn net.Conn
		open int
	}
	arrivals := make(chan arrival, clients)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for range clients {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			arrivals <- arrival{c, ln.Stats().Open}
		}
	})
	var admitted []net.Conn
	for range clients {
		a := <-arrivals
		require.LessOrEqual(t, a.open, limit)
		if admitted = append(admitted, a.conn); len(admitted) == limit {
			_ = admitted[0].Close()
			_ = admitted[0].Close() // closing it again must not free another seat
			admitted = admitted[1:]
		}
	}
	accepting.Wait()
	require.EqualValues(t, clients, ln.Stats().Accepted)
}

func TestCloseEndsAnAcceptThatWaits(t *testing.T) {
	for name, full := range map[string]bool{"for a client": false, "for room": true} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t, Options{MaxConnections: 1})
			if full {
				pair(t, ln)
			}
			result := make(chan error)
			go func() {
				_, err := ln.Accept()
				result <- err
			}()
			_ = ln.Close()
			require.ErrorIs(t, <-result, net.ErrClosed)
			_, err := ln.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorContains(t, err, "use of closed network connection", "the text that fasthttp looks for")
		})
	}
}

// A client that was accepted just before the listener closes gets a seat if there is one.
func TestACloseSendsNobodyAway(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	_ = ln.Close()
	for range 100 {
		require.True(t, ln.seats.take(ln.closed))
		ln.seats.leave()
	}
	require.True(t, ln.seats.take(ln.closed))
	require.False(t, ln.seats.take(ln.closed), "no room")
	ln.seats.leave()
}

func TestOneMoreFromAnAddressIsReset(t *testing.T) {
	ln := listen(t, Options{MaxPerIP: 2, MaxConnections: 3})
	first, _ := pair(t, ln)
	pair(t, ln)
	crowd := []*net.TCPConn{dial(t, ln), dial(t, ln)}
	result := make(chan *Conn)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			close(result)
			return
		}
		result <- c.(*Conn)
	}()
	for _, c := range crowd {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	_ = first.Close()
	welcome := dial(t, ln)
	require.Equal(t, welcome.LocalAddr().String(), (<-result).RemoteAddr().String())
	require.EqualValues(t, 2, ln.Stats().Refused)
	require.EqualValues(t, 3, ln.Stats().Accepted)
	require.Equal(t, 2, ln.Stats().Open)
}

func TestOriginOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":          "192.0.2.7",
		"::ffff:192.0.2.7":   "192.0.2.7",
		"2001:db8:1:2::1":    "2001:db8:1:2::",
		"2001:db8:1:2:f::9":  "2001:db8:1:2::",
		"2001:db8:1:3::1":    "2001:db8:1:3::",
		"fe80::1%eth0":       "fe80::1%eth0",
		"fe80::2%eth0":       "fe80::2%eth0",
		"::1":                "::",
		"2001:db8::1%strict": "2001:db8::",
	} {
		addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))
		require.Equal(t, want, OriginOf(addrOf(addr)).String(), address)
	}
	require.Equal(t, netip.Addr{}, OriginOf(addrOf(&net.UnixAddr{})))
}

// flaky is a TCP listener whose Accept returns errs first, then works.
type flaky struct {
	*net.TCPListener
	errs []error
}

func (m *flaky) AcceptTCP() (*net.TCPConn, error) {
	if len(m.errs) == 0 {
		return m.TCPListener.AcceptTCP()
	}
	err := m.errs[0]
	m.errs = m.errs[1:]
	return nil, err
}

func acceptError(number syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", number)}
}

func TestPassingFailuresDoNotEndAccept(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	passing := []error{
		acceptError(syscall.EMFILE), acceptError(syscall.ENFILE), acceptError(syscall.ECONNABORTED),
		acceptError(syscall.ENOBUFS), acceptError(syscall.ENOMEM),
	}
	ln, err := Listen(&flaky{inner.(*net.TCPListener), passing}, Options{MaxConnections: 1})
	require.NoError(t, err)
	defer ln.Shutdown()
	pair(t, ln)
	require.EqualValues(t, len(passing), ln.Stats().AcceptErrors)
}

func TestOtherFailuresEndAccept(t *testing.T) {
	for _, fatal := range []error{acceptError(syscall.EBADF), acceptError(syscall.EINVAL), errors.New("odd"), io.EOF} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ln, err := Listen(&flaky{inner.(*net.TCPListener), []error{fatal}}, Options{MaxConnections: 1})
		require.NoError(t, err)
		_, err = ln.Accept()
		require.ErrorIs(t, err, fatal)
		pair(t, ln) // the seat was freed
		ln.Shutdown()
	}
}

func TestShutdownClosesEverything(t *testing.T) {
	ln := listen(t, Options{})
	server, client := pair(t, ln)
	ln.Shutdown()
	ln.Shutdown()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.ErrorIs(t, server.Close(), net.ErrClosed)
	require.Zero(t, ln.Stats().Open)
	_, err = net.Dial("tcp", ln.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// TestAConnectionTakenDuringShutdownIsNotHandedOut: otherwise nobody would close it.
func TestAConnectionTakenDuringShutdownIsNotHandedOut(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	client := dial(t, ln)
	ln.open.shut()
	result := make(chan error)
	go func() {
		_, err := ln.Accept()
		result <- err
	}()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_ = ln.Close()
	require.ErrorIs(t, <-result, net.ErrClosed)
	ln.watcher.close()
}

func TestCloseConnsLeavesTheListenerOpen(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	_, client := pair(t, ln)
	ln.CloseConns()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	pair(t, ln)
}

// A proxy's connections are counted under the client they currently serve.
func TestCount(t *testing.T) {
	client, other := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.10")
	ln := listen(t, Options{MaxPerIP: 2, Uncounted: netip.Addr.IsLoopback})
	var conns []*Conn
	for range 4 {
		server, _ := pair(t, ln)
		conns = append(conns, server)
	}
	require.True(t, conns[0].Count(client))
	require.True(t, conns[1].Count(client))
	require.True(t, conns[1].Count(client), "again")
	require.False(t, conns[2].Count(client))
	require.EqualValues(t, 1, ln.Stats().Refused)
	require.True(t, conns[2].Count(other))
	require.True(t, conns[0].Count(netip.Addr{}))
	require.True(t, conns[3].Count(client))
	require.NoError(t, conns[3].Close())
	require.True(t, conns[3].Count(client), "a closed connection is not counted")
	require.True(t, conns[0].Count(client))
	require.False(t, conns[2].Count(client))
	ln.CloseConns()
	require.Empty(t, ln.open.perIP.count)
}
