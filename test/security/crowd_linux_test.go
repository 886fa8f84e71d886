package security

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// With more silent clients than descriptors, an honest client is still served,
// operators get answers, and the model server stays healthy.
func TestACrowdOfSilentClients(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_STATE_FILE": t.TempDir() + "/window"})
	u := rig.StartCommand(t, exec.Command("/bin/sh", "-c", "ulimit -n 64; exec "+rig.Binary), with).Ready()
	line := u.WaitLine("USHER_MAX_CONNECTIONS is lowered")
	require.Contains(t, line, `"level":"warn"`)
	require.Contains(t, line, `"descriptors":64`)
	_, page := u.Get("/status.json")
	require.Contains(t, page, "USHER_MAX_CONNECTIONS is lowered")
	for range 80 {
		c, err := net.Dial("tcp", u.Public)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
	}
	for n := int64(1); n <= 20; n++ {
		require.Equal(t, 200, u.Post("/generate", s.Numbered(n).Flat("")).Status)
		status, said := u.Get("/readyz")
		require.Equal(t, 200, status, said)
	}
	require.Positive(t, u.Metric("usher_connections_evicted_total"))
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", u.Cmd.Process.Pid))
	require.NoError(t, err)
	require.Less(t, len(open), 64)
	for _, line := range u.Log() {
		require.NotContains(t, line, "not healthy")
	}
}

// At the connection limit, idle kept connections are closed at once to make room, the
// longest idle first; one that is being served stays.
func TestAnIdleConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	inside, release := make(chan struct{}, 1), make(chan struct{})
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Slow") != "" {
			inside <- struct{}{}
			<-release
		}
		_, _ = w.Write([]byte("{}"))
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_CONNECTIONS": "3", "USHER_REORDER_HOLD": "0"})).Ready()
	var kept []*bufio.Reader
	var conns []net.Conn
	dial := func() {
		c, err := net.Dial("tcp", u.Public)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(rig.Patience)))
		conns, kept = append(conns, c), append(kept, bufio.NewReader(c))
	}
	send := func(i int, n int64, more string) {
		body := s.Numbered(n).Flat("")
		_, err := fmt.Fprintf(conns[i], "POST /generate HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n%s\r\n%s", len(body), more, body)
		require.NoError(t, err)
	}
	answered := func(i int) {
		resp, err := http.ReadResponse(kept[i], nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		_, _ = new(bytes.Buffer).ReadFrom(resp.Body)
		_ = resp.Body.Close()
	}
	dial()
	send(0, 1, "X-Slow: 1\r\n")
	<-inside
	for i := 1; i < 3; i++ {
		dial()
		send(i, int64(i+1), "")
		answered(i)
	}
	dial()
	began := time.Now()
	send(3, 4, "")
	answered(3)
	require.Less(t, time.Since(began), rig.Patience/4, "the request had to wait for a time-out")
	_, err := kept[1].ReadByte()
	require.Error(t, err, "the connection that was idle longest must be closed")
	send(2, 5, "")
	answered(2)
	close(release)
	answered(0)
	require.Equal(t, 1.0, u.Metric("usher_connections_evicted_total"))
	for _, line := range u.Log() {
		require.NotContains(t, line, "client_gone")
	}
}

// The same over TLS, where a client that is silent after the handshake also gets a
// second of grace.
func TestAnIdleTLSConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	cert, key, _ := rig.CertificateFiles(t, t.TempDir())
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{
		"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key, "USHER_MAX_CONNECTIONS": "1",
	})).Ready()
	dial := func() *tls.Conn {
		plain, err := net.DialTimeout("tcp", u.Public, rig.Patience)
		require.NoError(t, err)
		c := tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(rig.Patience)))
		require.NoError(t, c.Handshake())
		return c
	}
	ping := func(c *tls.Conn) {
		_, err := fmt.Fprint(c, "GET /ping HTTP/1.1\r\nHost: w\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
	}
	ping(dial())
	silent := dial() // the first one's place
	ping(dial())
	_, err := silent.Read(make([]byte, 1))
	require.Error(t, err)
	require.Equal(t, 2.0, u.Metric("usher_connections_evicted_total"))
}
