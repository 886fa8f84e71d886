package streams

import (
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Between two requests a connection is kept for USHER_IDLE_TIMEOUT, whatever the last
// request was: USHER_READ_TIMEOUT is for a request that has begun.
func TestKeptConnectionMayIdle(t *testing.T) {
	t.Parallel()
	t.Run("TCP", func(t *testing.T) { t.Parallel(); testKeptConnectionMayIdle(t, nil, nil) })
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		cert, key, pool := rig.CertificateFiles(t, t.TempDir())
		testKeptConnectionMayIdle(t, rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}, pool)
	})
}

func testKeptConnectionMayIdle(t *testing.T, more rig.Env, pool *x509.CertPool) {
	const readTimeout = time.Second
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Case") != "stream" {
			_, _ = io.WriteString(w, "{}")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_READ_TIMEOUT": readTimeout.String()}).With(more)).Ready()
	inBody := func(kind string) string {
		body := s.Ticket().Flat("")
		return "POST /generate_stream HTTP/1.1\r\nHost: a\r\nX-Case: " + kind + "\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body)
	}
	inHead := func(kind string) string {
		return "POST /generate_stream HTTP/1.1\r\nHost: a\r\nX-Case: " + kind + "\r\nAuthorization: SignedRoute " + s.Ticket().Token() + "\r\nContent-Length: 2\r\n\r\n{}"
	}
	inChunks := func(kind string) string {
		return "POST /generate_stream HTTP/1.1\r\nHost: a\r\nX-Case: " + kind + "\r\nAuthorization: SignedRoute " + s.Ticket().Token() + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	}
	var cases sync.WaitGroup
	for name, requests := range map[string][]string{
		"at once":                             {inBody("whole")},
		"at once, in the head":                {inHead("whole")},
		"at once, in chunks":                  {inChunks("whole")},
		"a stream":                            {inBody("stream")},
		"a stream, in the head":               {inHead("stream")},
		"a stream, in chunks":                 {inChunks("stream")},
		"two":                                 {inBody("whole") + inBody("whole"), ""},
		"two, in the head":                    {inHead("whole") + inHead("whole"), ""},
		"two streams":                         {inBody("stream") + inBody("stream"), ""},
		"two streams, in the head":            {inHead("stream") + inHead("stream"), ""},
		"one after the other":                 {inBody("stream"), inHead("stream"), inBody("whole")},
		"an empty line behind it":             {inBody("whole") + "\r\n"},
		"an empty line later":                 {inBody("whole")},
		"an empty line later, after a stream": {inBody("stream")},
		"one behind a stream":                 {inBody("stream") + "\r\n"},
		"refused":                             {"POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"},
		"refused, no such route":              {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"},
	} {
		rig.SideBySide(t, &cases, name, func(t *testing.T) {
			c := rig.Connect(t, u, pool)
			answer := func() int {
				resp, err := http.ReadResponse(c.In, nil)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.False(t, resp.Close)
				return resp.StatusCode
			}
			for _, r := range requests {
				if r != "" {
					c.Send(r)
				}
				answer()
			}
			if strings.HasPrefix(name, "an empty line later") {
				c.Send("\r\n")
			}
			time.Sleep(5 * readTimeout / 2)
			c.Send(inBody("whole"))
			require.Equal(t, 200, answer())
		})
	}
	cases.Wait()
}
