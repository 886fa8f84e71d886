package test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that leaves frees its place and the model server, in every phase,
// over plain TCP and TLS, whether it closes or half-closes.
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
	s := newSigner(t)
	left := make(chan struct{}, 1)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
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
		case <-time.After(patience):
		}
	})
	with := settings(m, s).with(env{"USHER_MAX_CONCURRENCY": "1"})
	var pool *x509.CertPool
	if secure {
		var cert, key string
		cert, key, pool = certificateFiles(t, t.TempDir())
		with = with.with(env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
	}
	u := start(t, with)
	first := connect(t, u, pool)
	first.request("POST", "/generate", s.ticket().flat(""))
	require.Eventually(t, func() bool { return len(m.arrivals()) == 1 }, patience, time.Millisecond)

	leaver := first
	switch phase {
	case "waiting":
		leaver = connect(t, u, pool)
		leaver.request("POST", "/generate", s.ticket().flat(""))
		require.Eventually(t, func() bool { return u.metric("usher_waiting") == 1 }, patience, time.Millisecond)
	case "mid-stream", "non-stream":
		_, err := leaver.in.Peek(1)
		require.NoError(t, err)
	case "pipelined":
		_, err := leaver.in.Peek(1)
		require.NoError(t, err)
		leaver.request("POST", "/generate", s.ticket().flat(""))
	}
	if half {
		require.NoError(t, leaver.Conn.(*net.TCPConn).CloseWrite())
	} else {
		require.NoError(t, leaver.Close())
	}
	u.waitLine(`"outcome":"client_gone","status":499`)
	if phase == "waiting" {
		require.Len(t, m.arrivals(), 1)
		require.Zero(t, u.metric("usher_waiting"))
		return
	}
	select {
	case <-left:
	case <-time.After(patience):
		require.Fail(t, "the model server goes on")
	}
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == 0 }, patience, time.Millisecond)
	require.Len(t, m.arrivals(), 1, "the pipelined request must not be served")
}

// A certificate that changes on disk is served without a restart.
func TestCertificateIsFollowed(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	dir := t.TempDir()
	cert, key, pool := certificateFiles(t, dir)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}))
	c := connect(t, u, pool)
	c.request("GET", "/ping", nil)
	require.Contains(t, c.response(), "pong")

	_, _, changed := certificateFiles(t, dir)
	require.Eventually(t, func() bool {
		c, err := tls.Dial("tcp", u.public, &tls.Config{RootCAs: changed, ServerName: "127.0.0.1"})
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, patience, 20*time.Millisecond)
	_, err := tls.Dial("tcp", u.public, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11})
	require.Error(t, err, "TLS 1.1 is refused")
}
