//go:build darwin || linux

package front

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A panic while a connection is read or served ends that connection, and nothing else.
// The field "Faulty" causes one: its entry is out of range.
func TestPanicsEndTheirConnection(t *testing.T) {
	names := &fieldNames[len("faulty")]
	sound := *names
	*names = append(sound[:len(sound):len(sound)], struct {
		name  string
		field Field
	}{"faulty", knownFields})
	addr, panics := panickyServer(t)
	t.Cleanup(func() { *names = sound }) // no request is being served by then
	for name, tt := range map[string]struct{ sent, answer string }{
		"a head":                   {"GET / HTTP/1.1\r\nHost: x\r\nFaulty: 1\r\n\r\n", "400 The request could not be read\n"},
		"a head with a body":       {"POST / HTTP/1.1\r\nHost: x\r\nFaulty: 1\r\nContent-Length: 2\r\n\r\nhi", "400 The request could not be read\n"},
		"a head that is not whole": {"GET / HTTP/1.1\r\nHost: x\r\nFaulty: 1\r\n", ""},
		"beside the routes":        {"GET /aside HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"a handler":                {"GET /handler HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"a second request":         {"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nFaulty: 1\r\n\r\n", "200\n400 The request could not be read\n"},
		"a body read beside":       {"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", "400 body framing is malformed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, "200\n", say(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
			require.Empty(t, panics())
			require.Equal(t, tt.answer, say(t, addr, tt.sent))
			var told []string
			require.Eventually(t, func() bool { told = append(told, panics()...); return len(told) > 0 }, 10*time.Second, time.Millisecond)
			require.Len(t, told, 1)
			require.Contains(t, told[0], "sidecar/front")
		})
	}
}

// A panic in a TLS handshake ends its connection, and nothing else.
func TestAPanicInAHandshake(t *testing.T) {
	config := serverConfig(t)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "faulty" {
			panic("a fault of ours")
		}
		return nil, nil
	}
	panics := make(chan any, 1)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	options.TLS, options.Panicked = config, func(fault any, _ []byte) { panics <- fault }
	s, addr := startServer(t, options, hangup.Options{})
	for range 2 {
		_, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "faulty"})
		require.Error(t, err)
		require.Equal(t, "a fault of ours", <-panics)
		client, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "sound"})
		require.NoError(t, err)
		exchange(t, client)
		require.NoError(t, client.Close())
	}
	require.Eventually(t, func() bool { return openOn(s) == 0 }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 2, s.Handshakes()["failed"])
	require.Zero(t, s.HandshakesWaiting())
}

// say sends bytes, half-closes if they are not a whole head, and reads until the
// connection ends.
func say(t *testing.T, addr, sent string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, sent)
	require.NoError(t, err)
	if !strings.Contains(sent, "\r\n\r\n") {
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
	}
	got, _ := io.ReadAll(c) // the connection may be reset
	return string(got)
}

// panickyServer answers 200 or the fault. panics returns the stacks reported since its
// last call.
func panickyServer(t *testing.T) (addr string, panics func() []string) {
	t.Helper()
	var mu sync.Mutex
	var told []string
	_, addr = startServer(t, Options{
		Serve: func(c *Conn, fault error) {
			switch string(c.Head.Path) {
			case "/handler":
				panic("a fault of ours")
			case "/upload":
				fault = readBeside(c)
			}
			answer := "200\n"
			if fault != nil {
				answer = "400 " + fault.Error() + "\n"
				c.CloseAfter()
			}
			_ = c.WriteParts(nil, [][]byte{[]byte(answer)})
		},
		HealthCheck: func(path string) (Answer, bool) {
			if path == "/aside" {
				panic("a fault of ours")
			}
			return Answer{}, false
		},
		Methods:  func([]byte) string { return "" },
		Panicked: func(_ any, stack []byte) { mu.Lock(); defer mu.Unlock(); told = append(told, string(stack)) },
	}, hangup.Options{})
	return addr, func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := told
		told = nil
		return list
	}
}

// readBeside reads a body as a Stream does, from a connection that panics.
func readBeside(c *Conn) error {
	whole := c.Conn
	defer func() { c.Conn = whole }()
	c.Conn = faultyConn{whole}
	s := c.Stream(10, nil)
	if err := s.Begin(); err != nil {
		return err
	}
	read := make(chan error)
	go func() {
		_, err := s.Read(make([]byte, 10))
		read <- err
	}()
	return <-read
}

type faultyConn struct{ net.Conn }

func (faultyConn) Read([]byte) (int, error) { panic("a fault of ours") }
