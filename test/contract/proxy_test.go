package contract

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

const (
	proxy1     = "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"
	proxy2     = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x0a\xc0\x00\x02\x01\x30\x39\x01\xbb" // 203.0.113.10
	proxyLocal = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// A proxied is a client's connection through a proxy, whose header is written before
// anything else.
func proxied(t *testing.T, u *rig.Usher, secure bool, first string) *rig.Wire {
	t.Helper()
	w := rig.Dial(t, u.Public)
	if !secure {
		w.Send(first)
		return w
	}
	w.Send(first)
	w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	w.In.Reset(w.Conn)
	return w
}

// ask sends a request that is refused for want of a ticket, and returns the client's
// address in the log.
func askOfWire(w *rig.Wire, u *rig.Usher, id string, head ...string) (client string) {
	w.T.Helper()
	w.Send("POST /generate HTTP/1.1\r\nHost: usher\r\nX-Request-Id: " + id + "\r\nContent-Length: 2\r\n" +
		strings.Join(append(head, ""), "\r\n") + "\r\n{}")
	require.Contains(w.T, w.Response(), "422 ")
	var line struct{ Client string }
	require.NoError(w.T, json.Unmarshal([]byte(u.WaitLine(id)), &line))
	return line.Client
}

// A trusted proxy's PROXY header, before TLS too, and its X-Forwarded-For name the
// client; on a kept connection each request has its own client.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	cert, key, _ := rig.CertificateFiles(t, t.TempDir())
	with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"})
	for name, more := range map[string]rig.Env{"plain": {}, "TLS": {"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}} {
		secure := name == "TLS"
		u := rig.Start(t, with.With(more)).Ready()
		for i, tt := range []struct {
			first string
			head  []string
			want  string
		}{
			{"", nil, "127.0.0.1"},
			{proxy1, nil, "203.0.113.9"},
			{proxy2, nil, "203.0.113.10"},
			{proxyLocal, nil, "127.0.0.1"},
			{"", []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.11"}, "203.0.113.11"},
			{"", []string{"X-Forwarded-For: 203.0.113.12", "X-Forwarded-For: 10.0.0.7"}, "203.0.113.12"},
			{proxyLocal, []string{"X-Forwarded-For: 2001:db8::1"}, "2001:db8::1"},
			{proxy1, []string{"X-Forwarded-For: 198.51.100.1"}, "203.0.113.9"}, // the client's own word
			{"PROXY TCP4 10.0.0.8 192.0.2.1 1 2\r\n", []string{"X-Forwarded-For: 203.0.113.13"}, "203.0.113.13"},
		} {
			w := proxied(t, u, secure, tt.first)
			require.Equal(t, tt.want, askOfWire(w, u, name+rig.Itoa(i), tt.head...), "%s %q %q", name, tt.first, tt.head)
			if tt.want = strings.TrimPrefix(tt.want, "127.0.0.1"); tt.first == "" || tt.first == proxyLocal {
				tt.want = "203.0.113.99"
			}
			if tt.head == nil { // a kept connection
				require.Equal(t, tt.want, askOfWire(w, u, name+rig.Itoa(i)+"again", "X-Forwarded-For: 203.0.113.99"), name, i)
			}
		}
	}
}

// From anyone else X-Forwarded-For is ignored and a PROXY header is answered 400, as
// is a malformed one from a trusted proxy.
func TestProxyHeadersOfOthers(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	cert, key, _ := rig.CertificateFiles(t, t.TempDir())
	m := rig.NewModel(t, nil)
	const broken = "PROXY TCP4 203.0.113.9 192.0.2.1 056324 443\r\n"
	for trusted, headers := range map[string][]string{"": {proxy1, proxy2, proxyLocal, broken}, "127.0.0.1": {broken, "PROXY \r\n", strings.Replace(proxy2, "\x21", "\x31", 1)}} {
		for name, more := range map[string]rig.Env{"plain": {}, "TLS": {"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}} {
			u := rig.Start(t, rig.Settings(m, s).With(more).With(rig.Env{"USHER_TRUSTED_PROXIES": trusted})).Ready()
			for _, header := range headers {
				w := rig.Dial(t, u.Public)
				w.Send(header)
				if name == "plain" {
					body := s.Ticket().Flat("")
					w.Send(rig.Head(len(body)) + string(body))
				}
				resp, err := http.ReadResponse(w.In, nil)
				require.NoError(t, err, "%s %q %q", trusted, name, header)
				require.Equal(t, 400, resp.StatusCode, "%s %q", name, header)
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.True(t, w.Closed())
			}
			if trusted == "" {
				require.Equal(t, "127.0.0.1", askOfWire(proxied(t, u, name == "TLS", ""), u, name, "X-Forwarded-For: 203.0.113.11"))
			}
		}
	}
	require.Empty(t, m.Arrivals())
}

// The limit per address counts the clients behind a proxy and not the proxy: while a
// client's connections are open, one more with a PROXY header is reset, and one more
// request with X-Forwarded-For is refused.
func TestProxiedClientsAreCounted(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s).With(rig.Env{
		"USHER_TRUSTED_PROXIES": "127.0.0.1", "USHER_MAX_CONNECTIONS_PER_IP": "2",
	})).Ready()
	for i := range 2 {
		require.Equal(t, "203.0.113.9", askOfWire(proxied(t, u, false, proxy1), u, "counted-"+rig.Itoa(i)))
	}
	third := proxied(t, u, false, proxy1)
	_, err := third.In.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "the connection must be reset, not closed")
	require.Equal(t, "203.0.113.10", askOfWire(proxied(t, u, false, proxy2), u, "another"))

	const forwarded = "X-Forwarded-For: 203.0.113.20\r\n"
	stream := func() *rig.Wire {
		body := s.Ticket().Flat("")
		w := proxied(t, u, false, "")
		w.Send("POST /generate_stream HTTP/1.1\r\nHost: usher\r\n" + forwarded + "Content-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
		return w
	}
	for range 2 {
		resp, err := http.ReadResponse(stream().In, nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
	}
	crowded := stream()
	require.Contains(t, crowded.Response(), "queue_full")
	require.Equal(t, "203.0.113.21", askOfWire(crowded, u, "of-another", "X-Forwarded-For: 203.0.113.21"), "the proxy's connection lives")
	close(script.Events)
	u.WaitMetric("usher_in_flight", 0)
	for i := range 3 { // answered, they are not counted any more, though their connections are open
		require.Equal(t, "203.0.113.20", askOfWire(proxied(t, u, false, ""), u, "after-"+rig.Itoa(i), strings.TrimSpace(forwarded)))
	}
}

// An unfinished PROXY header holds a connection no longer than a request would.
func TestPROXYHeaderInTime(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_TRUSTED_PROXIES": "127.0.0.1", "USHER_READ_TIMEOUT": "150ms"})).Ready()
	w := rig.Dial(t, u.Public)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then
		for _, b := range []byte(proxy1) {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if _, err := w.Conn.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	begun := time.Now()
	_, err := w.In.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, net.ErrClosed)
	require.Less(t, time.Since(begun), 6*time.Second) // the whole header would take 9
}

// A PROXY header may arrive in any pieces, the last of them together with the request.
func TestPROXYHeaderInPieces(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_TRUSTED_PROXIES": "127.0.0.1"})).Ready()
	for i, header := range []string{proxy1, proxy2} {
		for _, cut := range []int{1, 5, 13, len(header) - 1} {
			w := rig.Dial(t, u.Public)
			w.Send(header[:cut])
			time.Sleep(5 * time.Millisecond) // no other way to have the pieces arrive apart
			w.Send(header[cut:] + "GET /ping HTTP/1.1\r\nHost: usher\r\n\r\n")
			require.Equal(t, "200 OK\npong", w.Response())
			require.Equal(t, []string{"203.0.113.9", "203.0.113.10"}[i], askOfWire(w, u, "pieces-"+rig.Itoa(i)+"-"+rig.Itoa(cut)))
		}
	}
}
