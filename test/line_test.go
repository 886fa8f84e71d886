package test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A model server that closes its connection after each answer, without having
// said so, is noticed before the next request: the client sees nothing of it, and
// each request is sent once.
func TestStaleConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	const n = 200
	closed := make(chan struct{}, n)
	m := newWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = c.Close()
		closed <- struct{}{}
		return false
	})
	u := start(t, wireSettings(m, s)).ready()
	for range n {
		got := u.post("/generate", s.ticket().flat(""))
		require.Equal(t, 200, got.status, got.body)
		<-closed // a request that crosses the close on its way cannot be saved
	}
	require.Equal(t, n, m.count())
}

// A request that was sent is spent, although its answer never came.
func TestSpentAfterTimeout(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.Copy(io.Discard, c) // until Usher gives up
		return false
	})
	u := start(t, wireSettings(m, s).with(env{"USHER_UPSTREAM_TIMEOUT": "150ms"})).ready()
	body := s.ticket().flat("")
	got := u.post("/v1/completions", body)
	require.Equal(t, 504, got.status)
	require.Equal(t, "upstream_timeout", got.code())
	require.Equal(t, "reqnum_replayed", u.post("/v1/completions", body).code())
	require.Equal(t, 1, m.count())
}

// A model server on a Unix socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	socket := filepath.Join(t.TempDir(), "model")
	ln, err := net.Listen("unix", socket)
	require.NoError(t, err)
	hosts := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			hosts <- r.Host
		}
		_, _ = io.WriteString(w, "ok")
	}))
	_ = server.Listener.Close()
	server.Listener = ln
	server.Start()
	t.Cleanup(server.Close)
	u := start(t, env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": testURL, "USHER_PUBLIC_KEY": s.public(),
		"USHER_UPSTREAM_URL": "unix:" + socket,
	}).ready()
	require.Equal(t, "ok", u.post("/generate", s.ticket().flat("")).body)
	require.NotEmpty(t, <-hosts)
}

// Over TLS, too, a body of declared length is passed on as it comes.
func TestDeclaredLengthOverTLS(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	next := make(chan struct{})
	m := newWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
		for range 3 {
			_, _ = io.WriteString(c, "ten bytes.")
			<-next
		}
		return true
	})
	cert, key, pool := certificateFiles(t, t.TempDir())
	u := start(t, wireSettings(m, s).with(env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).ready()
	w := connect(t, u, pool)
	w.request("POST", "/generate", s.ticket().flat(""))
	resp, err := http.ReadResponse(w.in, nil)
	require.NoError(t, err)
	for range 3 {
		got := make([]byte, 10)
		_, err := io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, "ten bytes.", string(got))
		next <- struct{}{}
	}
}
