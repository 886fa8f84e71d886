package streams

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// If a model server closes its connection after each answer without having said so,
// this is noticed before the next request: the client sees nothing of it, and each
// request is sent once.
func TestStaleConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	n := full.Or(30, 200)
	closed := make(chan struct{}, n)
	m := rig.NewWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		closeNoticed(c)
		closed <- struct{}{}
		return false
	})
	u := rig.Start(t, wireSettings(m, s)).Ready()
	for range n {
		got := u.Post("/generate", s.Ticket().Flat(""))
		require.Equal(t, 200, got.Status, got.Body)
		<-closed // a request that crosses the close on its way cannot be saved
	}
	require.Equal(t, n, m.Count())
}

// A ticket is spent once its request has been sent, even if no answer comes.
func TestSpentAfterTimeout(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.Copy(io.Discard, c) // until Usher gives up
		return false
	})
	u := rig.Start(t, wireSettings(m, s).With(rig.Env{"USHER_UPSTREAM_TIMEOUT": "150ms"})).Ready()
	body := s.Ticket().Flat("")
	got := u.Post("/v1/completions", body)
	require.Equal(t, 504, got.Status)
	require.Equal(t, "upstream_timeout", got.Code())
	require.Eventually(t, func() bool { return m.Count() == 1 }, rig.Patience, time.Millisecond)
	require.Equal(t, "reqnum_replayed", u.Post("/v1/completions", body).Code())
	require.Equal(t, 1, m.Count())
}

// The model server can be on a Unix socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
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
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": "unix:" + socket,
	}).Ready()
	require.Equal(t, "ok", u.Post("/generate", s.Ticket().Flat("")).Body)
	require.NotEmpty(t, <-hosts)
}

// Over TLS too, a body of declared length is forwarded as it arrives.
func TestDeclaredLengthOverTLS(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	next := make(chan struct{})
	m := rig.NewWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
		for range 3 {
			_, _ = io.WriteString(c, "ten bytes.")
			<-next
		}
		return true
	})
	cert, key, pool := rig.CertificateFiles(t, t.TempDir())
	u := rig.Start(t, wireSettings(m, s).With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).Ready()
	w := rig.Connect(t, u, pool)
	w.Request("POST", "/generate", s.Ticket().Flat(""))
	resp, err := http.ReadResponse(w.In, nil)
	require.NoError(t, err)
	for range 3 {
		got := make([]byte, 10)
		_, err := io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, "ten bytes.", string(got))
		next <- struct{}{}
	}
}
