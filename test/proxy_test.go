package test

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
)

const (
	proxy1     = "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"
	proxy2     = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x0a\xc0\x00\x02\x01\x30\x39\x01\xbb" // 203.0.113.10
	proxyLocal = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// A proxied is a client's connection through a proxy: what the proxy says first
// is written before anything else.
func proxied(t *testing.T, u *usher, secure bool, first string) *wire {
	t.Helper()
	w := dial(t, u.public)
	if !secure {
		w.write(first)
		return w
	}
	w.write(first)
	w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	w.in.Reset(w.Conn)
	return w
}

// ask sends a request that is refused for want of a ticket, and returns who the
// log says that asked.
func (w *wire) ask(u *usher, id string, head ...string) (client string) {
	w.t.Helper()
	w.write("POST /generate HTTP/1.1\r\nHost: usher\r\nX-Request-Id: " + id + "\r\nContent-Length: 2\r\n" +
		strings.Join(append(head, ""), "\r\n") + "\r\n{}")
	require.Contains(w.t, w.response(), "422 ")
	var line struct{ Client string }
	require.NoError(w.t, json.Unmarshal([]byte(u.waitLine(id)), &line))
	return line.Client
}

// A trusted proxy's PROXY header, before TLS too, and its X-Forwarded-For name
// the client; on a kept connection each request has its own.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	cert, key, _ := certificateFiles(t, t.TempDir())
	with := settings(newModel(t, nil), s).with(env{"USHER_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"})
	for name, more := range map[string]env{"plain": {}, "TLS": {"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}} {
		secure := name == "TLS"
		u := start(t, with.with(more)).ready()
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
			require.Equal(t, tt.want, w.ask(u, name+itoa(i), tt.head...), "%s %q %q", name, tt.first, tt.head)
			if tt.want = strings.TrimPrefix(tt.want, "127.0.0.1"); tt.first == "" || tt.first == proxyLocal {
				tt.want = "203.0.113.99"
			}
			if tt.head == nil { // a kept connection
				require.Equal(t, tt.want, w.ask(u, name+itoa(i)+"again", "X-Forwarded-For: 203.0.113.99"), name, i)
			}
		}
	}
}

// From anyone else X-Forwarded-For says nothing, and a PROXY header is answered
// 400, as one that is malformed is of a trusted proxy.
func TestProxyHeadersOfOthers(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	cert, key, _ := certificateFiles(t, t.TempDir())
	m := newModel(t, nil)
	const broken = "PROXY TCP4 203.0.113.9 192.0.2.1 056324 443\r\n"
	for trusted, headers := range map[string][]string{"": {proxy1, proxy2, proxyLocal, broken}, "127.0.0.1": {broken, "PROXY \r\n", strings.Replace(proxy2, "\x21", "\x31", 1)}} {
		for name, more := range map[string]env{"plain": {}, "TLS": {"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}} {
			u := start(t, settings(m, s).with(more).with(env{"USHER_TRUSTED_PROXIES": trusted})).ready()
			for _, header := range headers {
				w := dial(t, u.public)
				w.write(header)
				if name == "plain" {
					body := s.ticket().flat("")
					w.write(head(len(body)) + string(body))
				}
				resp, err := http.ReadResponse(w.in, nil)
				require.NoError(t, err, "%s %q %q", trusted, name, header)
				require.Equal(t, 400, resp.StatusCode, "%s %q", name, header)
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.True(t, w.closed())
			}
			if trusted == "" {
				require.Equal(t, "127.0.0.1", proxied(t, u, name == "TLS", "").ask(u, name, "X-Forwarded-For: 203.0.113.11"))
			}
		}
	}
	require.Empty(t, m.arrivals())
}

// The limit of one address counts the clients behind a proxy, and not the proxy:
// one more connection by PROXY header is reset, one more request by
// X-Forwarded-For refused, while those before it are open.
func TestProxiedClientsAreCounted(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s).with(env{
		"USHER_TRUSTED_PROXIES": "127.0.0.1", "USHER_MAX_CONNECTIONS_PER_IP": "2",
	})).ready()
	for i := range 2 {
		require.Equal(t, "203.0.113.9", proxied(t, u, false, proxy1).ask(u, "counted-"+itoa(i)))
	}
	third := proxied(t, u, false, proxy1)
	_, err := third.in.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "reset")
	require.Equal(t, "203.0.113.10", proxied(t, u, false, proxy2).ask(u, "another"))

	const forwarded = "X-Forwarded-For: 203.0.113.20\r\n"
	stream := func() *wire {
		body := s.ticket().flat("")
		w := proxied(t, u, false, "")
		w.write("POST /generate_stream HTTP/1.1\r\nHost: usher\r\n" + forwarded + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body))
		return w
	}
	for range 2 {
		resp, err := http.ReadResponse(stream().in, nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
	}
	crowded := stream()
	require.Contains(t, crowded.response(), "queue_full")
	require.Equal(t, "203.0.113.21", crowded.ask(u, "of-another", "X-Forwarded-For: 203.0.113.21"), "the proxy's connection lives")
	close(script.send)
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == 0 }, patience, time.Millisecond)
	for i := range 3 { // answered, they are not counted any more, though their connections are open
		require.Equal(t, "203.0.113.20", proxied(t, u, false, "").ask(u, "after-"+itoa(i), strings.TrimSpace(forwarded)))
	}
}

// A PROXY header that does not come to its end holds a connection no longer than
// a request would.
func TestPROXYHeaderInTime(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_TRUSTED_PROXIES": "127.0.0.1", "USHER_READ_TIMEOUT": "150ms"})).ready()
	w := dial(t, u.public)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then
		for _, b := range []byte(proxy1) {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if _, err := w.Conn.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	begun := time.Now()
	_, err := w.in.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, net.ErrClosed)
	require.Less(t, time.Since(begun), 800*time.Millisecond) // the whole header would take 900
}

// A PROXY header may come in any pieces, and the request in one with its end.
func TestPROXYHeaderInPieces(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_TRUSTED_PROXIES": "127.0.0.1"})).ready()
	for i, header := range []string{proxy1, proxy2} {
		for _, cut := range []int{1, 5, 13, len(header) - 1} {
			w := dial(t, u.public)
			w.write(header[:cut])
			time.Sleep(5 * time.Millisecond) // no other way to have the pieces arrive apart
			w.write(header[cut:] + "GET /ping HTTP/1.1\r\nHost: usher\r\n\r\n")
			require.Equal(t, "200 OK\npong", w.response())
			require.Equal(t, []string{"203.0.113.9", "203.0.113.10"}[i], w.ask(u, "pieces-"+itoa(i)+"-"+itoa(cut)))
		}
	}
}
