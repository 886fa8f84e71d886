package security

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// Failed handshakes are ended by a time-out of their own and counted by how they
// failed. Clients that are connected, or connect meanwhile, are served.
func TestFailedHandshakes(t *testing.T) {
	t.Parallel()
	timeout := full.Or(2*time.Second, 4*time.Second)
	u, i, _ := twoPairs(t, rig.Env{"USHER_HANDSHAKE_TIMEOUT": timeout.String(), "USHER_READ_TIMEOUT": "20s"})
	trusting := &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"}
	kept := rig.Connect(t, u, i.Pool)
	kept.Request("GET", "/ping", nil)
	require.Contains(t, kept.Response(), "pong")

	groups := []uint16{uint16(tls.X25519), uint16(tls.CurveP256)} // the latter for the certificate
	good := hello{tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, groups}.record()
	bad := hello{tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}, groups}.record()
	garbage := append([]byte{22, 3, 1, 0, 40, 1, 0, 0, 36}, make([]byte, 36)...)
	const each = 5
	for range each {
		for _, tt := range []struct {
			name, sent string
			leaves     bool
		}{
			{"says nothing", "", false},
			{"stops in a hello", string(good[:50]), false},
			{"stops after it", string(good), false},
			{"leaves in a hello", string(good[:50]), true},
			{"nothing in common", string(bad), false},
			{"garbage", string(garbage), false},
			{"HTTP", "GET / HTTP/1.1\r\n\r\n", false},
		} {
			c, err := net.Dial("tcp", u.Public)
			require.NoError(t, err)
			_, err = io.WriteString(c, tt.sent)
			require.NoError(t, err, tt.name)
			if tt.leaves {
				require.NoError(t, c.Close())
				continue
			}
			t.Cleanup(func() { _ = c.Close() })
		}
		_, err := rig.Ping(u.Public, &tls.Config{ServerName: "127.0.0.1"}) // knows no authority, and says so
		require.Error(t, err)
		_, err = rig.Ping(u.Public, trusting)
		require.NoError(t, err)
	}
	want := map[string]float64{"full": each + 1, "resumed": 0, "gone": each, "timeout": 3 * each, "crowded": 0, "plaintext": each, "rejected": each, "unverified": 0, "failed": 2 * each}
	got := map[string]float64{}
	require.Eventually(t, func() bool {
		total, expected := 0.0, 0.0
		for outcome, n := range want {
			got[outcome] = u.Metric(fmt.Sprintf("usher_tls_handshakes_total{outcome=%q}", outcome))
			total, expected = total+got[outcome], expected+n
		}
		return total == expected
	}, rig.Patience, 200*time.Millisecond, "%v", got)
	// A client's alert is lost if its kernel resets the connection right after it.
	require.LessOrEqual(t, got["rejected"], want["rejected"])
	want["gone"] += want["rejected"] - got["rejected"]
	want["rejected"] = got["rejected"]
	require.Equal(t, want, got)
	kept.Request("GET", "/ping", nil)
	require.Contains(t, kept.Response(), "pong")
	require.Zero(t, u.Metric("usher_tls_handshakes_waiting"))
	_, page := u.Get("/status.json")
	require.Contains(t, page, fmt.Sprintf("RSA 2048 and ECDSA P-256; handshakes: %d full, 0 resumed, %d failed", each+1, 8*each))

	// The time-out of handshakes does not bound requests, nor the other way round.
	late := rig.Connect(t, u, i.Pool)
	require.NoError(t, late.Conn.(*tls.Conn).Handshake())
	time.Sleep(timeout + 100*time.Millisecond)
	late.Request("GET", "/ping", nil)
	require.Contains(t, late.Response(), "pong", "the handshake's time-out must not run on after it")
}
