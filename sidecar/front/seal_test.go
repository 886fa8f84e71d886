//go:build darwin || linux

package front

import (
	"crypto/tls"
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
				if n, o.err = c.TryWrite(piece); n < len(piece) {
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
	require.Greater(t, o.full, 20, "TryWrite was hardly ever short")
	require.True(t, string(sent) == string(got), "%d bytes of %d", len(got), total)
}

// slowReader pauses before each read.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(200 * time.Microsecond)
	return s.r.Read(p)
}
