package test

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
)

func TestEd25519(t *testing.T) {
	t.Parallel()
	s := newEd25519Signer(t)
	u := start(t, settings(newModel(t, nil), s))
	spent := s.ticket()
	require.Equal(t, 200, u.post("/generate", spent.flat("")).status)
	require.Equal(t, "reqnum_replayed", u.post("/generate", spent.flat("")).code())
	require.Equal(t, "bad_signature", u.post("/generate", s.ticket().with("cost", "1").flat("")).code())
}

// A key that changes at its URL: the new one is taken up, the old one is good
// for the grace, and each has a window of its own. What is no key changes nothing.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	first, second := newSigner(t), newSigner(t)
	var served atomic.Pointer[string]
	serve := func(text string) { served.Store(&text) }
	serve(first.public())
	keys := newModel(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *served.Load()) })
	u := start(t, settings(newModel(t, nil), first).with(env{
		"USHER_PUBLIC_KEY": "", "REPORT_ADDR": keys.URL, "USHER_PUBLIC_KEY_REFRESH": "1s", "USHER_PUBLIC_KEY_GRACE": "1h",
	})).ready()
	old := first.numbered(1)
	require.Equal(t, 200, u.post("/generate", old.flat("")).status)
	require.Equal(t, "bad_signature", u.post("/generate", second.numbered(50).flat("")).code())

	serve("<html>maintenance</html>")
	u.waitLine("not refreshed")
	require.Equal(t, 200, u.post("/generate", first.numbered(2).flat("")).status)

	serve(second.public())
	require.Eventually(t, func() bool { return u.post("/generate", second.numbered(1).flat("")).status == 200 }, patience, 20*time.Millisecond)
	require.Equal(t, "reqnum_replayed", u.post("/generate", second.numbered(1).flat("")).code())
	require.Equal(t, 200, u.post("/generate", first.numbered(3).flat("")).status, "within the grace")
	require.Equal(t, "reqnum_replayed", u.post("/generate", old.flat("")).code())
	require.Equal(t, "/pubkey/", keys.arrivals()[0].target)
}

// A key file is followed, and SIGHUP has it read at once.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	first, second := newSigner(t), newSigner(t)
	path := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(path, []byte(first.public()), 0o600))
	u := start(t, settings(newModel(t, nil), first).with(env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_FILE": path})).ready()
	require.Equal(t, 200, u.post("/generate", first.numbered(1).flat("")).status)
	require.NoError(t, os.WriteFile(path, []byte(second.public()), 0o600))
	u.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return u.post("/generate", second.numbered(1).flat("")).status == 200 }, patience, 10*time.Millisecond)
}

// Where the number is not signed it gives no order and no replay protection, and
// never moves the window.
func TestUnsignedReqnum(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_SIGNED_FIELDS": "url|cost,endpoint,reqnum,url", "USHER_REPLAY_WINDOW": "10"}))
	u.waitLine("can be replayed")
	urlOnly := s.signed(ticket{"cost": "1", "endpoint": quote(testEndpoint), "url": quote(testURL)}, "url")
	require.Equal(t, 200, u.post("/generate", urlOnly.flat("")).status, "it may be missing")
	require.Equal(t, 200, u.post("/generate", urlOnly.with("reqnum", "9223372036854775807").flat("")).status)
	require.Equal(t, 200, u.post("/generate", urlOnly.with("reqnum", "9223372036854775807").flat("")).status)
	require.Equal(t, 200, u.post("/generate", s.numbered(5).flat("")).status, "the window has not moved")
	require.Equal(t, "reqnum_replayed", u.post("/generate", s.numbered(5).flat("")).code())
	require.Equal(t, 200, u.post("/generate", s.numbered(100).flat("")).status)
	require.Equal(t, "reqnum_stale", u.post("/generate", s.numbered(5).flat("")).code())
	require.Equal(t, 200, u.post("/generate", urlOnly.with("reqnum", "5").flat("")).status, "an honest request is not stale by a number nobody signed")
}

func TestNumbersThatStartAgain(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_REQNUM_RESET_AFTER": "3", "USHER_REPLAY_WINDOW": "10"}))
	require.Equal(t, 200, u.post("/generate", s.numbered(1000).flat("")).status)
	for n := int64(1); n < 3; n++ {
		require.Equal(t, "reqnum_stale", u.post("/generate", s.numbered(n).flat("")).code())
	}
	require.Equal(t, 200, u.post("/generate", s.numbered(3).flat("")).status)
	require.Equal(t, 200, u.post("/generate", s.numbered(1).flat("")).status)
	require.Equal(t, "reqnum_replayed", u.post("/generate", s.numbered(3).flat("")).code())
	require.EqualValues(t, 1, u.metric("usher_replay_window_resets_total"))
	require.Contains(t, u.waitLine("the numbers start again"), `"reqnum":3`)
}

// Without leave to start a new window, a run of stale numbers is said plainly.
func TestStaleNumbersAreSaidPlainly(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_REPLAY_WINDOW": "10"}))
	require.Equal(t, 200, u.post("/generate", s.numbered(1000).flat("")).status)
	for n := range int64(40) {
		require.Equal(t, "reqnum_stale", u.post("/generate", s.numbered(n).flat("")).code())
	}
	u.waitLine("started its numbers again")
	require.EqualValues(t, 40, u.metric(`usher_requests_total{outcome="reqnum_stale",route="/generate"}`))
}
