package test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each kind of alternative in USHER_SIGNED_FIELDS: what it warns of, and what it
// binds. A number that was not signed never moves the window.
func TestSignedFields(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	base := ticket{"cost": "256.0", "endpoint": quote(testEndpoint), "reqnum": "50", "url": quote(testURL), "request_idx": "3"}
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
			u := start(t, settings(m, s).with(env{"USHER_SIGNED_FIELDS": tt.setting, "USHER_REPLAY_WINDOW": "100", "USHER_REORDER_HOLD": "0"}))
			log := strings.Join(u.log(), "\n")
			for _, warning := range []string{replayable, understate, anyEndpoint, anyWorker} {
				want := 0
				for _, w := range tt.warns {
					if w == warning {
						want = 1
					}
				}
				require.Equal(t, want, strings.Count(log, warning), "%s:\n%s", warning, log)
			}
			signed := s.signed(base, tt.signed...)
			changes := map[string]string{"cost": "1", "reqnum": "9223372036854775807", "request_idx": "4"}
			free := map[string]bool{}
			for _, member := range tt.free {
				free[member] = true
			}
			for member, value := range changes {
				if !free[member] {
					require.Equal(t, "bad_signature", u.post("/generate", signed.with(member, value).flat("")).code(), member)
				}
			}
			for number, member := range tt.free {
				other := s.signed(base.with("reqnum", itoa(60+number)), tt.signed...)
				got := u.post("/generate", other.with(member, changes[member]).flat(""))
				require.Equal(t, 200, got.status, "%s: %s", member, got.body)
			}
			if free["reqnum"] {
				for range 2 {
					require.Equal(t, 200, u.post("/generate", signed.flat("")).status)
					require.Equal(t, 200, u.post("/generate", signed.with("reqnum", "").flat("")).status, "it may be missing")
					require.Equal(t, 200, u.post("/generate", signed.with("reqnum", "null").flat("")).status)
				}
				require.Equal(t, "invalid_ticket", u.post("/generate", signed.with("reqnum", "1.0").flat("")).code())
			} else {
				u.post("/generate", signed.flat(""))
				require.Equal(t, "reqnum_replayed", u.post("/generate", signed.flat("")).code())
				require.Equal(t, "invalid_ticket", u.post("/generate", signed.with("reqnum", "").flat("")).code())
			}
		})
	}
	for _, wrong := range []string{"url|", "|", "url,url", "prompt", "auto,url", "url;cost", "signature"} {
		status, said := stops(t, settings(m, s).with(env{"USHER_SIGNED_FIELDS": wrong}))
		require.Equal(t, 2, status, wrong)
		require.Contains(t, said, "USHER_SIGNED_FIELDS", wrong)
	}
}
