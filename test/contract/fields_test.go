package contract

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// For each kind of alternative in USHER_SIGNED_FIELDS: what Usher warns of, and what
// the signature binds. A number that is not signed never moves the window.
func TestSignedFields(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	base := rig.Ticket{"cost": "256.0", "endpoint": rig.Quote(rig.Endpoint), "reqnum": "50", "url": rig.Quote(rig.URL), "request_idx": "3"}
	replayable, understate, anyEndpoint, anyWorker := "can be replayed", "understate", "every endpoint", "at every worker"
	for _, tt := range []struct {
		setting string
		signed  []string
		warns   []string
		free    []string // members that a client can change
	}{
		{"auto", []string{"cost", "endpoint", "reqnum", "url"}, nil, []string{"request_idx"}},
		{"auto", []string{"cost", "endpoint", "reqnum", "request_idx", "url"}, nil, nil},
		{"auto", []string{"cost", "endpoint", "reqnum", "url", "request_idx"}, nil, nil},
		{" url , reqnum ", []string{"url", "reqnum"}, []string{understate, anyEndpoint}, []string{"cost", "request_idx"}},
		{"reqnum,cost,endpoint", []string{"reqnum", "cost", "endpoint"}, []string{anyWorker}, []string{"request_idx"}},
		{"url", []string{"url"}, []string{replayable, understate, anyEndpoint}, []string{"cost", "reqnum", "request_idx"}},
		{"auto|url", []string{"url"}, []string{replayable, understate, anyEndpoint}, []string{"cost", "reqnum", "request_idx"}},
		{"cost,endpoint,url", []string{"cost", "endpoint", "url"}, []string{replayable}, []string{"reqnum", "request_idx"}},
	} {
		t.Run(tt.setting+" "+strings.Join(tt.signed, ","), func(t *testing.T) {
			u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_SIGNED_FIELDS": tt.setting, "USHER_REPLAY_WINDOW": "100", "USHER_REORDER_HOLD": "0"}))
			log := strings.Join(u.Log(), "\n")
			for _, warning := range []string{replayable, understate, anyEndpoint, anyWorker} {
				want := 0
				for _, w := range tt.warns {
					if w == warning {
						want = 1
					}
				}
				require.Equal(t, want, strings.Count(log, warning), "%s:\n%s", warning, log)
			}
			signed := s.Signed(base, tt.signed...)
			changes := map[string]string{"cost": "1", "reqnum": "9223372036854775807", "request_idx": "4"}
			free := map[string]bool{}
			for _, member := range tt.free {
				free[member] = true
			}
			for member, value := range changes {
				if !free[member] {
					require.Equal(t, "bad_signature", u.Post("/generate", signed.With(member, value).Flat("")).Code(), member)
				}
			}
			for number, member := range tt.free {
				other := s.Signed(base.With("reqnum", rig.Itoa(60+number)), tt.signed...)
				got := u.Post("/generate", other.With(member, changes[member]).Flat(""))
				require.Equal(t, 200, got.Status, "%s: %s", member, got.Body)
			}
			if free["reqnum"] {
				for range 2 {
					require.Equal(t, 200, u.Post("/generate", signed.Flat("")).Status)
					require.Equal(t, 200, u.Post("/generate", signed.With("reqnum", "").Flat("")).Status, "it may be missing")
					require.Equal(t, 200, u.Post("/generate", signed.With("reqnum", "null").Flat("")).Status)
				}
				require.Equal(t, "invalid_ticket", u.Post("/generate", signed.With("reqnum", "1.0").Flat("")).Code())
			} else {
				u.Post("/generate", signed.Flat(""))
				require.Equal(t, "reqnum_replayed", u.Post("/generate", signed.Flat("")).Code())
				require.Equal(t, "invalid_ticket", u.Post("/generate", signed.With("reqnum", "").Flat("")).Code())
			}
		})
	}
	for _, wrong := range []string{"url|", "|", "url,url", "prompt", "auto,url", "url;cost", "signature"} {
		status, said := rig.Stops(t, rig.Settings(m, s).With(rig.Env{"USHER_SIGNED_FIELDS": wrong}))
		require.Equal(t, 2, status, wrong)
		require.Contains(t, said, "USHER_SIGNED_FIELDS", wrong)
	}
}
