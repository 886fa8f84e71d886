package streams

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// narrow opens a connection with the smallest receive buffer that the kernel allows,
// so that the server soon cannot send what the client does not read.
func narrow(t testing.TB, address string) *rig.Wire {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
		}), err)
	}}
	c, err := d.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &rig.Wire{T: t, Conn: c}
}

// A sipper reads so many bytes a second, in steps. On a busy machine it catches up for
// late steps, or it would be slower than it claims.
type sipper struct {
	net.Conn
	perSecond int
	began     time.Time
	taken     int
}

func (s *sipper) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	due := int(time.Since(s.began).Seconds()*float64(s.perSecond)) - s.taken
	n, err := s.Conn.Read(p[:min(len(p), max(1, due))])
	s.taken += n
	return n, err
}

// sip reads from c for as long as told.
func sip(c net.Conn, d time.Duration) (total int, err error) {
	_ = c.SetReadDeadline(time.Now().Add(d))
	n, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return int(n), err
}

// A client that keeps reading, however slowly, is not cut off, whatever it has yet to
// read: pieces of a stream, a large answer in one write, or the rest of an answer that
// has been written in full. Usher only sees what the client's kernel accepts: with the
// smallest receive buffer, some hundred bytes at a time.
func TestReaderThatTakesALittleIsNotCut(t *testing.T) {
	t.Parallel()
	writeTimeout := full.Or(2*time.Second, 3*time.Second)
	times := full.Or(2, 3) // writeTimeout passes
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Case") {
		case "stream":
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "data: "+strings.Repeat("x", 100)+"\n\n"); err != nil {
					return
				}
			}
		case "large":
			w.Header().Set("Content-Length", "8000000")
			_, _ = io.WriteString(w, strings.Repeat("x", 8_000_000))
		case "whole":
			w.Header().Set("Content-Length", "60000")
			_, _ = io.WriteString(w, strings.Repeat("x", 60_000))
		}
	})
	cert, key, pool := rig.CertificateFiles(t, t.TempDir())
	plain := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_WRITE_TIMEOUT": writeTimeout.String()})).Ready()
	secure := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_WRITE_TIMEOUT": writeTimeout.String(), "USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).Ready()
	var cases sync.WaitGroup
	for _, tt := range []struct {
		kind      string
		secure    bool
		perSecond int
	}{
		{"stream", false, 1000}, {"stream", false, 20_000}, {"stream", true, 1000},
		{"large", false, 1000}, {"large", false, 20_000}, {"large", true, 1000}, {"whole", false, 1000},
	} {
		name := fmt.Sprintf("%s TLS=%t %d B per s", tt.kind, tt.secure, tt.perSecond)
		body := s.Ticket().Flat("")
		rig.SideBySide(t, &cases, name, func(t *testing.T) {
			u := plain
			if tt.secure {
				u = secure
			}
			c := narrow(t, u.Public)
			c.Conn = &sipper{Conn: c.Conn, perSecond: tt.perSecond, began: time.Now()}
			if tt.secure {
				c.Conn = tls.Client(c.Conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
			}
			id := strings.NewReplacer(" ", "-", "=", "-").Replace(name)
			c.Send("POST /generate_stream HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + id + "\r\nX-Case: " + tt.kind + "\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
			total, err := sip(c.Conn, time.Duration(times)*writeTimeout)
			require.NoError(t, err, "cut after %d bytes", total)
			if !tt.secure { // which hands out whole records
				require.Greater(t, total, tt.perSecond*times*int(writeTimeout/time.Second)/4)
			}
			if tt.kind != "whole" {
				_ = c.Close()
				require.Contains(t, u.WaitLine(id), `"outcome":"client_gone"`)
			}
		})
	}
	cases.Wait()
}
