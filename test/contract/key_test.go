package contract

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

func TestEd25519(t *testing.T) {
	t.Parallel()
	s := rig.NewEd25519Signer(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s))
	spent := s.Ticket()
	require.Equal(t, 200, u.Post("/generate", spent.Flat("")).Status)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", spent.Flat("")).Code())
	require.Equal(t, "bad_signature", u.Post("/generate", s.Ticket().With("cost", "1").Flat("")).Code())
}

// When the key at the URL changes, the new one is adopted, the old one stays good for
// the grace period, and each has a window of its own. An answer that is not a key
// changes nothing.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	first, second := rig.NewSigner(t), rig.NewSigner(t)
	var served atomic.Pointer[string]
	serve := func(text string) { served.Store(&text) }
	serve(first.Public())
	keys := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *served.Load()) })
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), first).With(rig.Env{
		"USHER_PUBLIC_KEY": "", "REPORT_ADDR": keys.URL, "USHER_PUBLIC_KEY_REFRESH": "1s", "USHER_PUBLIC_KEY_GRACE": "1h",
	})).Ready()
	old := first.Numbered(1)
	require.Equal(t, 200, u.Post("/generate", old.Flat("")).Status)
	require.Equal(t, "bad_signature", u.Post("/generate", second.Numbered(50).Flat("")).Code())

	serve("<html>maintenance</html>")
	u.WaitLine("public key not refreshed; the last good one stays in force")
	require.Equal(t, 200, u.Post("/generate", first.Numbered(2).Flat("")).Status)

	serve(second.Public())
	require.Eventually(t, func() bool { return u.Post("/generate", second.Numbered(1).Flat("")).Status == 200 }, rig.Patience, 20*time.Millisecond)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", second.Numbered(1).Flat("")).Code())
	require.Equal(t, 200, u.Post("/generate", first.Numbered(3).Flat("")).Status, "the old key must be good for the grace period")
	require.Equal(t, "reqnum_replayed", u.Post("/generate", old.Flat("")).Code())
	require.Equal(t, "/pubkey/", keys.Arrivals()[0].Target)
}

// Changes of a key file are noticed, and SIGHUP makes Usher read it at once.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	first, second := rig.NewSigner(t), rig.NewSigner(t)
	path := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(path, []byte(first.Public()), 0o600))
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), first).With(rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_FILE": path})).Ready()
	require.Equal(t, 200, u.Post("/generate", first.Numbered(1).Flat("")).Status)
	require.NoError(t, os.WriteFile(path, []byte(second.Public()), 0o600))
	u.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return u.Post("/generate", second.Numbered(1).Flat("")).Status == 200 }, rig.Patience, 10*time.Millisecond)
}

// A number that is not signed gives no order and no replay protection, and never moves
// the window.
func TestUnsignedReqnum(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_SIGNED_FIELDS": "url|cost,endpoint,reqnum,url", "USHER_REPLAY_WINDOW": "10"}))
	u.WaitLine("can be replayed")
	urlOnly := s.Signed(rig.Ticket{"cost": "1", "endpoint": rig.Quote(rig.Endpoint), "url": rig.Quote(rig.URL)}, "url")
	require.Equal(t, 200, u.Post("/generate", urlOnly.Flat("")).Status, "it may be missing")
	require.Equal(t, 200, u.Post("/generate", urlOnly.With("reqnum", "9223372036854775807").Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", urlOnly.With("reqnum", "9223372036854775807").Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", s.Numbered(5).Flat("")).Status, "an unsigned number must not move the window")
	require.Equal(t, "reqnum_replayed", u.Post("/generate", s.Numbered(5).Flat("")).Code())
	require.Equal(t, 200, u.Post("/generate", s.Numbered(100).Flat("")).Status)
	require.Equal(t, "reqnum_stale", u.Post("/generate", s.Numbered(5).Flat("")).Code())
	require.Equal(t, 200, u.Post("/generate", urlOnly.With("reqnum", "5").Flat("")).Status, "an unsigned number must not make an honest request stale")
}

func TestNumbersThatStartAgain(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_REQNUM_RESET_AFTER": "3", "USHER_REPLAY_WINDOW": "10"}))
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1000).Flat("")).Status)
	for n := int64(1); n < 3; n++ {
		require.Equal(t, "reqnum_stale", u.Post("/generate", s.Numbered(n).Flat("")).Code())
	}
	require.Equal(t, 200, u.Post("/generate", s.Numbered(3).Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1).Flat("")).Status)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", s.Numbered(3).Flat("")).Code())
	require.EqualValues(t, 1, u.Metric("usher_replay_window_resets_total"))
	require.Contains(t, u.WaitLine("request numbers restarted"), `"reqnum":3`)
}

// If Usher may not start a new window, a run of stale numbers makes the log name the
// likely cause.
func TestStaleNumbersAreExplained(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_REPLAY_WINDOW": "10"}))
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1000).Flat("")).Status)
	for n := range int64(40) {
		require.Equal(t, "reqnum_stale", u.Post("/generate", s.Numbered(n).Flat("")).Code())
	}
	u.WaitLine("restarted its numbering")
	require.EqualValues(t, 40, u.Metric(`usher_requests_total{outcome="reqnum_stale",route="/generate"}`))
}
