package streams

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A client that leaves ends its request within 100 ms, in every phase of an upload, over
// plain TCP and TLS.
func TestHangUpOfAnUpload(t *testing.T) {
	t.Parallel()
	const promised = 100 * time.Millisecond
	s := rig.NewSigner(t)
	cert, key, pool := rig.CertificateFiles(t, t.TempDir())
	for _, secure := range []bool{false, true} {
		began, ended := make(chan struct{}, 2), make(chan time.Time, 2)
		url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, r.Body, 3)
			if r.Header.Get("Early") != "" {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
			}
			began <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.Copy(io.Discard, in)
			ended <- time.Now()
		})
		settings := rig.Streaming(s, url).With(rig.Env{"USHER_MAX_CONCURRENCY": "1"})
		if secure {
			settings = settings.With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
		}
		u := rig.Start(t, settings).Ready()
		open := func() net.Conn {
			w := rig.Dial(t, u.Public)
			if secure {
				return tls.Client(w.Conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
			}
			return w.Conn
		}
		send := func(c net.Conn, text string) {
			_, err := io.WriteString(c, text)
			require.NoError(t, err)
		}
		hangUp := func(phase string) time.Duration {
			c := open()
			framing := map[string]string{"chunks": "Transfer-Encoding: chunked", "answer begun": "Early: 1\r\nContent-Length: 9"}[phase]
			if framing == "" {
				framing = "Content-Length: 9"
			}
			body := map[string]string{"chunks": "3\r\nabc\r\n", "body whole": "abcdefghi"}[phase]
			if body == "" {
				body = "abc"
			}
			send(c, rig.UploadHead(s.Ticket(), framing)+body)
			<-began
			if phase == "answer begun" {
				_, err := bufio.NewReader(c).ReadString('\n')
				require.NoError(t, err)
			}
			// A client that leaves while it waits for its turn does not spend its
			// ticket.
			waiting, ticket := open(), s.Ticket()
			send(waiting, rig.UploadHead(ticket, "Content-Length: 9")+"abc")
			u.WaitMetric("usher_waiting", 1)
			_ = waiting.Close()
			u.WaitMetric("usher_waiting", 0)
			left := time.Now()
			if half, ok := c.(*net.TCPConn); ok && phase == "half-close" {
				_ = half.CloseWrite()
			} else {
				_ = c.Close()
			}
			took := (<-ended).Sub(left)
			t.Logf("%s, TLS %v: %s", phase, secure, took)
			u.WaitMetric("usher_in_flight", 0)
			return took
		}
		for _, phase := range []string{"while it comes", "chunks", "body whole", "answer begun", "half-close"} {
			// A busy machine may delay one, but not five in a row.
			took := hangUp(phase)
			for n := 1; n < 5 && took > promised; n++ {
				took = hangUp(phase)
			}
			require.LessOrEqual(t, took, promised, phase)
		}
	}
}
