package security

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Forged tickets with old numbers do not make the log advise a restart with a new state
// file, after which spent tickets would pass again. Genuine ones do, once.
func TestForgedNumbersRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	const warning = "numbering"
	s := rig.NewEd25519Signer(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_REPLAY_WINDOW": "100"})).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Numbered(20_000).Flat("")).Status)
	said := func() int { return strings.Count(strings.Join(u.Log(), "\n"), warning) }
	before := said()
	for n := range int64(100) {
		require.Equal(t, "reqnum_stale", u.Post("/generate", s.Numbered(n).With("cost", "2.0").Flat("")).Code())
	}
	last := u.Post("/nowhere", nil)
	u.WaitLine(last.Header.Get("X-Request-Id"))
	require.Equal(t, before, said())
	for n := range int64(100) {
		require.Equal(t, "reqnum_stale", u.Post("/generate", s.Numbered(n).Flat("")).Code())
	}
	u.WaitLine(warning)
	last = u.Post("/nowhere", nil)
	u.WaitLine(last.Header.Get("X-Request-Id"))
	require.Equal(t, before+1, said())
}
