package test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// How long a connection to the model server is kept: as the setting says, or for
// less where the model server says so.
func TestUpstreamIdleTimeout(t *testing.T) {
	t.Parallel()
	const n = 5
	for name, tt := range map[string]struct {
		setting, says string
		dials         float64
	}{
		"default":     {"", "", 1},
		"none":        {"0", "", n},
		"long":        {"1h", "Keep-Alive: timeout=60\r\n", 1},
		"server's 0":  {"1h", "Keep-Alive: timeout=0, max=9\r\n", n},
		"none, short": {"0s", "Keep-Alive: timeout=60\r\n", n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigner(t)
			m := newWireModel(t, func(c *net.TCPConn, _ string) bool {
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.says+"Content-Length: 2\r\n\r\nok")
				return err == nil
			})
			u := start(t, wireSettings(m, s).with(env{"USHER_UPSTREAM_IDLE_TIMEOUT": tt.setting})).ready()
			for range n {
				require.Equal(t, 200, u.post("/generate", s.ticket().flat("")).status)
			}
			require.Equal(t, tt.dials, u.metric("usher_upstream_dials_total"))
			require.Equal(t, n, m.count())
		})
	}
}
