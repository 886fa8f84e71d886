package sidecar

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A took keeps what is written to a client.
type took struct {
	net.Conn
	bytes.Buffer
}

func (t *took) Write(p []byte) (int, error) { return t.Buffer.Write(p) }
func (t *took) Read(p []byte) (int, error)  { return 0, net.ErrClosed }

// Of a model server that always says the last word, a stream without it is broken
// like any other: the client gets what came, but no end. Of another it is whole.
func TestStrictStreams(t *testing.T) {
	const end = "0\r\n\r\n"
	for name, tt := range map[string]struct {
		stream       string
		strict, ends bool
	}{
		"unfinished": {"data: {}\n\n", true, false},
		"finished":   {"data: {}\n\ndata: [DONE]\n\n", true, true},
		"not strict": {"data: {}\n\n", false, true},
		"empty":      {"", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(tt.stream))
				_ = http.NewResponseController(w).Flush()
			}))
			defer m.Close()
			c, err := upstream.New(upstream.Options{Network: "tcp", Address: m.Listener.Addr().String(), Host: "m"})
			require.NoError(t, err)
			defer c.Close()
			line, err := c.Acquire(context.Background())
			require.NoError(t, err)
			resp, err := line.RoundTrip(&upstream.Request{Path: []byte("/")})
			require.NoError(t, err)
			defer resp.Close()
			client := &took{}
			x := &exchange{sidecar: newIdle(t), conn: &conn{Conn: client}}
			r := &relay{x: x, resp: resp, framing: byChunks, strict: tt.strict, finish: dialect.Of("/v1/completions").Ending.Watch(), last: time.Now()}
			b := relayBuffers.Get().(*relayBuffer)
			b.head = append(b.head[:0], "head\r\n\r\n"...)
			require.NoError(t, r.run(b))
			require.Equal(t, tt.ends, bytes.HasSuffix(client.Bytes(), []byte(end)), "%q", client.String())
			if tt.ends {
				require.NoError(t, r.err)
			} else {
				require.ErrorIs(t, r.err, upstream.ErrBroken)
				require.Equal(t, account.UpstreamBroken, refusalOf(r.err).outcome)
			}
		})
	}
}
