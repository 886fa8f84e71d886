package streams

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A client that leaves frees its slot and the model server, in every phase, over plain
// TCP and TLS, whether it closes or half-closes.
func TestHangUp(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		name := map[bool]string{false: "plain ", true: "TLS "}[secure]
		for _, phase := range []string{"waiting", "before the head", "mid-stream", "non-stream"} {
			t.Run(name+phase, func(t *testing.T) { hangUp(t, phase, secure, false) })
		}
	}
	t.Run("half-close", func(t *testing.T) { hangUp(t, "mid-stream", false, true) })
	t.Run("pipelined bytes unread", func(t *testing.T) { hangUp(t, "pipelined", false, false) })
}

func hangUp(t *testing.T, phase string, secure, half bool) {
	s := rig.NewSigner(t)
	left := make(chan struct{}, 1)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch phase {
		case "mid-stream", "pipelined":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
		case "non-stream":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
			left <- struct{}{}
		case <-time.After(rig.Patience):
		}
	})
	with := rig.Settings(m, s).With(rig.Env{"USHER_MAX_CONCURRENCY": "1"})
	var pool *x509.CertPool
	if secure {
		var cert, key string
		cert, key, pool = rig.CertificateFiles(t, t.TempDir())
		with = with.With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
	}
	u := rig.Start(t, with)
	first := rig.Connect(t, u, pool)
	first.Request("POST", "/generate", s.Ticket().Flat(""))
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)

	leaver := first
	switch phase {
	case "waiting":
		leaver = rig.Connect(t, u, pool)
		leaver.Request("POST", "/generate", s.Ticket().Flat(""))
		u.WaitMetric("usher_waiting", 1)
	case "mid-stream", "non-stream":
		_, err := leaver.In.Peek(1)
		require.NoError(t, err)
	case "pipelined":
		_, err := leaver.In.Peek(1)
		require.NoError(t, err)
		leaver.Request("POST", "/generate", s.Ticket().Flat(""))
	}
	if half {
		require.NoError(t, leaver.Conn.(*net.TCPConn).CloseWrite())
	} else {
		require.NoError(t, leaver.Close())
	}
	u.WaitLine(`"outcome":"client_gone","status":499`)
	if phase == "waiting" {
		require.Len(t, m.Arrivals(), 1)
		require.Zero(t, u.Metric("usher_waiting"))
		return
	}
	select {
	case <-left:
	case <-time.After(rig.Patience):
		require.Fail(t, "the model server goes on although the client has left")
	}
	u.WaitMetric("usher_in_flight", 0)
	require.Len(t, m.Arrivals(), 1, "the pipelined request must not be served")
}

// A certificate that changes on disk is adopted without a restart.
func TestCertificateIsFollowed(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	dir := t.TempDir()
	cert, key, pool := rig.CertificateFiles(t, dir)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}))
	c := rig.Connect(t, u, pool)
	c.Request("GET", "/ping", nil)
	require.Contains(t, c.Response(), "pong")

	_, _, changed := rig.CertificateFiles(t, dir)
	require.Eventually(t, func() bool {
		c, err := tls.Dial("tcp", u.Public, &tls.Config{RootCAs: changed, ServerName: "127.0.0.1"})
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, rig.Patience, 20*time.Millisecond)
	_, err := tls.Dial("tcp", u.Public, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11})
	require.Error(t, err, "TLS 1.1 is refused")
}
