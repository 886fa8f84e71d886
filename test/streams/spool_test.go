package streams

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// busy starts an usher whose only slot is taken until release is called, in front of a
// model server that answers with the length and hash of what it got. pool verifies its
// certificate, if it has one.
func busy(t *testing.T, pool *x509.CertPool, more rig.Env) (u *rig.Usher, s *rig.Signer, release func()) {
	s = rig.NewSigner(t)
	hold := make(chan struct{})
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.Header.Get("Hold") != "" {
			<-hold
		}
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			return
		}
		said := fmt.Sprintf("%d %x", n, h.Sum(nil))
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
	})
	u = rig.Start(t, rig.Streaming(s, url).With(rig.Env{"USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_TIMEOUT": "1h", "USHER_MAX_BODY_BYTES": "32MiB"}).With(more)).Ready()
	c := open(u, pool)
	send(t, c, strings.Replace(rig.UploadHead(s.Ticket(), "Content-Length: 0"), "Host: a", "Host: a\r\nHold: 1", 1))
	u.WaitMetric("usher_in_flight", 1)
	return u, s, func() {
		close(hold)
		requireOK(t, c)
	}
}

// open connects, with TLS if there is a pool.
func open(u *rig.Usher, pool *x509.CertPool) net.Conn {
	w := rig.Dial(u.T, u.Public)
	if pool == nil {
		return w.Conn
	}
	return tls.Client(w.Conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func requireOK(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(rig.Patience))) // it may have been opened long ago
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
}

// chunksOf frames a body in chunks.
func chunksOf(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(len(body), 100_000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func patterned(n int) string {
	return strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz!", n/37+1)[:n]
}

// A client whose large body waits for its turn leaves: that is noticed, although the
// close is behind more bytes than the kernel buffers, and its ticket stays good.
func TestHangUpBehindABodyThatWaits(t *testing.T) {
	t.Parallel()
	cert, key, pool := rig.CertificateFiles(t, t.TempDir())
	const size = 12 << 20
	body := patterned(size)
	for _, secure := range []bool{false, true} {
		trusts, settings := (*x509.CertPool)(nil), rig.Env{}
		if secure {
			trusts, settings = pool, rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}
		}
		u, s, release := busy(t, trusts, settings)
		var tickets []rig.Ticket
		for _, tt := range []struct {
			name, framing, body string
			leave               func(net.Conn)
		}{
			{"length, whole", "Content-Length: " + rig.Itoa(size), body, func(c net.Conn) { _ = c.Close() }},
			{"length, cut", "Content-Length: " + rig.Itoa(size), body[:size-1], func(c net.Conn) { _ = c.Close() }},
			{"chunks, whole", "Transfer-Encoding: chunked", chunksOf(body), func(c net.Conn) { _ = c.Close() }},
			{"chunks, cut", "Transfer-Encoding: chunked", chunksOf(body)[:size], func(c net.Conn) { _ = c.Close() }},
			{"half-close", "Content-Length: " + rig.Itoa(size), body, func(c net.Conn) {
				if half, ok := c.(*net.TCPConn); ok {
					_ = half.CloseWrite()
				} else {
					_ = c.Close()
				}
			}},
			{"small", "Content-Length: 30000", body[:30000], func(c net.Conn) { _ = c.Close() }},
		} {
			c, ticket := open(u, trusts), s.Ticket()
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, rig.UploadHead(ticket, tt.framing)+tt.body)
				sent <- err
			}()
			u.WaitMetric("usher_waiting", 1)
			require.NoError(t, <-sent, tt.name)
			left := time.Now()
			tt.leave(c)
			u.WaitMetric("usher_waiting", 0)
			t.Logf("%s, TLS %v: %s", tt.name, secure, time.Since(left))
			u.WaitMetric("usher_in_flight", 1)
			tickets = append(tickets, ticket)
		}
		require.Zero(t, u.Metric("usher_waiting_bytes"))
		release()
		for _, ticket := range tickets {
			c := open(u, trusts)
			send(t, c, rig.UploadHead(ticket, "Content-Length: 0"))
			requireOK(t, c) // the ticket is as good as before
		}
	}
}

// A body that is read while it waits reaches the model server as it was sent, however
// much room there is. A client that leaves with a reset is noticed even when there is
// none.
func TestBodiesThatWait(t *testing.T) {
	t.Parallel()
	for _, room := range []string{"0", "100KiB", "256MiB"} {
		u, s, release := busy(t, nil, rig.Env{"USHER_QUEUE_BYTES": room})
		body := patterned(10<<20 + 5)
		want := fmt.Sprintf("200 OK\n%d %x", len(body), sha256.Sum256([]byte(body)))
		var clients []*rig.Wire
		for i, framing := range []string{"Content-Length: " + rig.Itoa(len(body)), "Transfer-Encoding: chunked"} {
			w := rig.Dial(t, u.Public)
			clients = append(clients, w)
			text := body
			if i == 1 {
				text = chunksOf(body)
			}
			go func() { _, _ = io.WriteString(w.Conn, rig.UploadHead(s.Ticket(), framing)+text) }()
			u.WaitMetric("usher_waiting", float64(i+1))
		}
		w, ticket := rig.Dial(t, u.Public), s.Ticket()
		go func() { _, _ = io.WriteString(w.Conn, rig.UploadHead(ticket, "Content-Length: 9999999")+body[:5<<20]) }()
		u.WaitMetric("usher_waiting", 3)
		_ = w.Conn.(*net.TCPConn).SetLinger(0)
		_ = w.Close()
		u.WaitMetric("usher_waiting", 2)
		release()
		for _, w := range clients {
			require.NoError(t, w.SetReadDeadline(time.Now().Add(rig.Patience)))
			require.Equal(t, want, w.Response(), room)
		}
		again := rig.Dial(t, u.Public)
		again.Send(rig.UploadHead(ticket, "Content-Length: 0"))
		require.Contains(t, again.Response(), "200 OK")
	}
}

// Waiting uploads use the memory that USHER_QUEUE_BYTES allows, and leave some for
// those that come later.
func TestBodiesThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	u, s, release := busy(t, nil, rig.Env{"USHER_QUEUE_BYTES": "8MiB"})
	const size = 16 << 20
	var clients []*rig.Wire
	for i := range 6 {
		w := rig.Dial(t, u.Public)
		clients = append(clients, w)
		go func() {
			_, _ = io.WriteString(w.Conn, rig.UploadHead(s.Ticket(), "Content-Length: "+rig.Itoa(size))+patterned(size))
		}()
		u.WaitMetric("usher_waiting", float64(i+1))
	}
	require.Eventually(t, func() bool { return u.Metric("usher_waiting_bytes") > 6<<20 }, rig.Patience, 2*time.Millisecond)
	require.LessOrEqual(t, u.Metric("usher_waiting_bytes"), float64(8<<20-64<<10))
	release()
	for _, w := range clients {
		require.NoError(t, w.SetReadDeadline(time.Now().Add(rig.Patience)))
		require.Contains(t, w.Response(), "200 OK\n16777216 ")
	}
}

// A body that turns out to be invalid while its request waits is refused at once, and
// the ticket stays good. A client that waits for 100 Continue gets it when its turn
// comes.
func TestBodiesThatWaitAndFail(t *testing.T) {
	t.Parallel()
	u, s, release := busy(t, nil, rig.Env{"USHER_MAX_BODY_BYTES": "100000"})
	for _, tt := range []struct{ body, status string }{
		{"5\r\nabcdeX", "400 Bad Request"},
		{chunksOf(patterned(200_000)), "413 Request Entity Too Large"},
	} {
		w, ticket := rig.Dial(t, u.Public), s.Ticket()
		w.Send(rig.UploadHead(ticket, "Transfer-Encoding: chunked") + tt.body)
		resp, err := http.ReadResponse(w.In, nil)
		require.NoError(t, err)
		require.Equal(t, tt.status, resp.Status)
		require.NotEmpty(t, resp.Header.Get("X-Usher-Refusal"))
		require.Empty(t, resp.Header.Get("X-Should-Retry"))
		require.True(t, resp.Close)
		u.WaitMetric("usher_in_flight", 1)
		defer func() {
			require.Equal(t, 200, u.Do("POST", "/upload/x", nil, http.Header{"Authorization": {"SignedRoute " + ticket.Token()}}).Status)
		}()
	}
	w := rig.Dial(t, u.Public)
	w.Send(rig.UploadHead(s.Ticket(), "Expect: 100-continue\r\nContent-Length: 50000"))
	u.WaitMetric("usher_waiting", 1)
	require.NoError(t, w.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err := w.In.ReadByte()
	require.Error(t, err, "100 Continue must not be sent before its turn")
	require.NoError(t, w.SetReadDeadline(time.Now().Add(rig.Patience)))
	release()
	line, err := w.In.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, _ = w.In.ReadString('\n')
	w.Send(patterned(50_000))
	require.Contains(t, w.Response(), "200 OK\n50000 ")
}
