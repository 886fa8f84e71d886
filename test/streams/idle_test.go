package streams

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A connection to the model server is kept for as long as the setting says, or for
// less if the model server says so.
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
			s := rig.NewSigner(t)
			m := rig.NewWireModel(t, func(c *net.TCPConn, _ string) bool {
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.says+"Content-Length: 2\r\n\r\nok")
				return err == nil
			})
			u := rig.Start(t, wireSettings(m, s).With(rig.Env{"USHER_UPSTREAM_IDLE_TIMEOUT": tt.setting})).Ready()
			for range n {
				require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
			}
			require.Equal(t, tt.dials, u.Metric("usher_upstream_dials_total"))
			require.Equal(t, n, m.Count())
		})
	}
}
