//go:build darwin || linux

package front

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// Bytes that are written without waiting arrive complete and once over TLS, too, at a
// client that reads slowly: whatever is left of a record, and whether the last bytes are
// written with or without waiting.
func TestTryWriteOverTLS(t *testing.T) {
	const total = 4 << 20
	sent := make([]byte, total)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	sizes := rand.New(random)
	type outcome struct {
		full, taken int
		err         error
	}
	outcomes := make(chan outcome, 1)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		var o outcome
		defer func() { outcomes <- o; c.CloseAfter(); c.GiveBack() }()
		_ = c.watched.SetWriteBuffer(64 << 10)
		for o.taken < total && o.err == nil {
			piece := sent[o.taken:min(o.taken+1+sizes.IntN(40<<10), total)]
			for len(piece) > 0 && o.err == nil {
				var n int
				if n, o.err = c.Taker().TryWrite(piece); n < len(piece) {
					o.full++
					if o.full%7 == 0 {
						o.err = c.WriteParts(nil, [][]byte{piece[n:]})
						n = len(piece)
					} else {
						time.Sleep(100 * time.Microsecond)
					}
				}
				o.taken += n
				piece = piece[n:]
			}
		}
	})
	options.TLS = serverConfig(t)
	_, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	require.NoError(t, client.(*net.TCPConn).SetReadBuffer(64<<10))
	_ = client.SetDeadline(time.Now().Add(30 * time.Second))
	secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	_, err = io.WriteString(secure, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	got, err := io.ReadAll(slowReader{secure})
	require.NoError(t, err, "every record must follow the one before")
	o := <-outcomes
	require.NoError(t, o.err)
	require.GreaterOrEqual(t, o.full, 7, "TryWrite was hardly ever short")
	require.True(t, string(sent) == string(got), "%d bytes of %d", len(got), total)
}

// slowReader pauses before each read.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(200 * time.Microsecond)
	return s.r.Read(p)
}

// The loop gives connections back, so that must not wait for a client: not even if
// crypto/tls has to answer what came along with the request, and the socket is full.
func TestWhatWasReadAlongDoesNotWait(t *testing.T) {
	returned := make(chan error, 1)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		defer func() { c.CloseAfter(); c.Abandon(); c.GiveBack() }()
		fillSocket(c)
		s := c.Conn.(*secureConn)
		filled := make(chan error, 1)
		go func() { filled <- s.tryFill(&c.ahead) }()
		select {
		case err := <-filled:
			returned <- err
		case <-time.After(time.Minute):
			returned <- errors.New("it waits for the client")
		}
	})
	options.TLS = serverConfig(t)
	_, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	held := &holdingConn{Conn: client}
	secure := tls.Client(held, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, secure.Handshake())
	held.holds = true
	_, err = io.WriteString(secure, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	// A record that cannot be opened, which crypto/tls answers with an alert.
	_, err = client.Write(append(held.kept, append([]byte{23, 3, 3, 0, 20}, make([]byte, 20)...)...))
	require.NoError(t, err)
	require.ErrorContains(t, <-returned, "bad record MAC")
}

// holdingConn keeps what is written to it once holds is set.
type holdingConn struct {
	net.Conn
	holds bool
	kept  []byte
}

func (h *holdingConn) Write(p []byte) (int, error) {
	if !h.holds {
		return h.Conn.Write(p)
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}
