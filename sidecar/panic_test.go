package sidecar

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A panic is counted, wherever it happens, and ends only its request: one in the steps
// of a request is answered with 500, one before them closes the connection.
func TestPanicsAreCounted(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		spoil  func(*Sidecar)
		status int // 0: no answer
	}{
		"none":             {func(*Sidecar) {}, http.StatusUnprocessableEntity},
		"in the steps":     {func(s *Sidecar) { s.bodies.Budget = nil }, http.StatusInternalServerError},
		"before the steps": {func(s *Sidecar) { s.routes.Table = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveForFuzzing(t, "http://127.0.0.1:1", public, tt.spoil)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for n := 1; n <= 2; n++ { // it goes on
				resp, err := client.Post("http://"+s.PublicAddr().String()+"/generate", "", strings.NewReader(`{"inputs":"`+strings.Repeat("x", 20_000)+`"}`))
				if tt.status == 0 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, tt.status, resp.StatusCode)
				}
				want := 0
				if tt.status != http.StatusUnprocessableEntity {
					want = n
				}
				require.EqualValues(t, want, internalFaults(t, s))
			}
			<-s.calls.idle()
		})
	}
}
