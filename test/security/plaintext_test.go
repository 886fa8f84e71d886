package security

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Plain HTTP on the TLS port gets a plain-text answer that says so, however much of
// the request is still to come. What is neither TLS nor HTTP is closed without an
// answer.
func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	cert, key, _ := rig.CertificateFiles(t, t.TempDir())
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}))
	for name, request := range map[string]string{
		"a browser":    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"an unread":    "POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n" + strings.Repeat("x", 4_000_000),
		"a whole call": rig.Head(len(s.Ticket().Flat(""))) + string(s.Ticket().Flat("")),
		"a preflight":  "OPTIONS /generate HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := rig.Dial(t, u.Public)
			go func() { _, _ = io.WriteString(c, request) }()
			resp, err := http.ReadResponse(c.In, nil)
			require.NoError(t, err)
			require.Equal(t, 400, resp.StatusCode)
			require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
			require.True(t, resp.Close)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Contains(t, string(text), "https://")
			_, err = c.In.ReadByte()
			require.ErrorIs(t, err, io.EOF, "the connection must be closed without a reset")
		})
	}
	for name, bytes := range map[string]string{"another protocol": "SSH-2.0-OpenSSH_9\r\n", "lower case": "get / HTTP/1.1\r\n\r\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			c := rig.Dial(t, u.Public)
			c.Send(bytes)
			require.NoError(t, c.Conn.(interface{ CloseWrite() error }).CloseWrite())
			said, _ := io.ReadAll(c.In)
			require.NotContains(t, string(said), "HTTP")
		})
	}
	require.Empty(t, m.Arrivals())
	require.EqualValues(t, 4, u.Metric(`usher_requests_total{outcome="bad_request",route="other"}`))
	u.WaitLine(`"outcome":"bad_request"`)
}
