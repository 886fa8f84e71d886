package hangup

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// layer is a connection on top of another, as *tls.Conn is.
type layer struct{ net.Conn }

func (l layer) NetConn() net.Conn { return l.Conn }

// opaque hides what is beneath it.
type opaque struct{ net.Conn }

func TestFrom(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	require.Same(t, server, From(server))
	require.Same(t, server, From(layer{layer{server}}))
	require.Nil(t, From(opaque{server}))
	require.Nil(t, From(client))
	require.Nil(t, From(layer{nil}))
	require.Nil(t, From(nil))
}

func TestResetIsNoEnd(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	server.Reset()
	_, err := io.ReadAll(client)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorIs(t, server.Close(), net.ErrClosed)
	require.Zero(t, server.listener.Stats().Open)
}

// TestLingeringCloseDeliversTheAnswer: without Linger the rest of the body, arriving at a
// closed socket, makes the kernel reset the connection.
func TestLingeringCloseDeliversTheAnswer(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	answered := make(chan error, 1)
	go func() {
		_, _ = io.WriteString(server, "413 too large")
		server.Linger()
		answered <- server.Close()
	}()
	// All of the body, more than the socket buffers hold, before reading the answer.
	_, err := client.Write(bytes.Repeat([]byte("x"), 8<<20))
	require.NoError(t, err)
	answer, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "413 too large", string(answer))
	_ = client.Close()
	require.NoError(t, <-answered)
	require.Zero(t, server.listener.Stats().Open)
}

func TestAnotherCloseCutsALingeringOne(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	server.Linger()
	closed := make(chan error)
	go func() { closed <- server.Close() }()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "it should linger")
	go func() { // it lingers for as long as something comes
		for {
			if _, err := client.Write([]byte{1}); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	server.listener.CloseConns()
	require.ErrorIs(t, <-closed, net.ErrClosed, "the other one closed it")
}

// OnClose's function is called however the connection is closed, or at once if it was
// closed before.
func TestOnClose(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"Close": func(c *Conn) { _ = c.Close() },
		"Reset": (*Conn).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := pair(t, listen(t, Options{}))
			told, earlier := 0, 0
			server.OnClose(func() { earlier++ })
			server.OnClose(func() { told++ })
			end(server)
			require.Equal(t, 1, told)
			require.Zero(t, earlier, "it was replaced")
			server.OnClose(func() { earlier++ })
			require.Equal(t, 1, earlier)
		})
	}
}
