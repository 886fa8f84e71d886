package operators

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/rig"
)

var screenshots = flag.String("screenshots", "", "directory that TestScreenshots writes to; its traffic comes from the playground")

// In a real browser the page loads with nothing in the console, keeps up, and shows a
// gap, its filling, a refusal and an outage as they happen.
func TestPageInABrowser(t *testing.T) {
	full.Only(t)
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	admin, err := loopback.Address()
	require.NoError(t, err)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ADMIN_ADDR": admin, "USHER_REORDER_HOLD": "60s", "USHER_REORDER_MAX_HOLD": "60s", "USHER_QUEUE_TIMEOUT": "60s"})).Ready()
	b := rig.Browse(t, "http://"+u.Admin+"/")
	b.Says("live", "live")
	b.Says("verdict-text", "Ready and idle")
	b.Says("strip-text", "No signed number has come yet")
	b.Says("reasons-none", "Every request since the start was served")

	require.Equal(t, 200, u.Post("/generate", s.Numbered(5).Flat("")).Status)
	b.Says("strip-text", "Next expected 6: 0 missing")
	ahead := make(chan int, 1)
	go func() { ahead <- u.Post("/generate", s.Numbered(7).Flat("")).Status }()
	b.Says("strip-text", "Next expected 6: 1 missing, 1 waiting (1 held for a gap)")
	require.Equal(t, 200, u.Post("/generate", s.Numbered(6).Flat("")).Status)
	require.Equal(t, 200, <-ahead)
	b.Says("strip-text", "Next expected 8: 0 missing, 0 waiting, 0 in flight; of those shown 3 served")

	// The strip can be read with the keyboard.
	require.NoError(t, chromedp.Do(b.Ctx, chromedp.Focus(chromedp.CSS("#strip")), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft)))
	b.Says("strip-one", "6: served, after a higher one, in time: it filled a gap.")

	refused := u.Post("/generate", s.Numbered(8).With("cost", "1.0").Flat(""))
	require.Equal(t, "bad_signature", refused.Code())
	b.Says("recent", refused.Header.Get("X-Request-Id"))
	b.Says("reasons", "this is not the autoscaler's key")
	b.Says("verdict-text", "25 % are refused because the signature does not fit")

	m.CloseClientConnections()
	m.Close()
	b.Until(`document.getElementById("verdict").dataset.level === "bad"`)
	b.Says("verdict-text", "Not ready: the model server does not answer its health probe")
	b.Says("checks", "model server: ")

	for _, scheme := range []string{"light", "dark"} {
		b.Scheme(scheme)
		b.Size(390, 844)
		b.Until("innerWidth === 390 && document.documentElement.scrollWidth <= 390")
		b.Size(1280, 900)
	}
	require.Empty(t, b.Console())

	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait(), "an open page must not hold up the end")
	b.Until(`document.getElementById("live").dataset.state === "off"`)
	// The next process at the same address takes over the open page.
	rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_ADMIN_ADDR": admin})).Ready()
	b.Says("live", "live")
	b.Says("verdict-text", "Ready and idle")
	b.Says("strip-text", "No signed number has come yet")
	b.Says("recent-none", "None since the start")
	b.Until(`document.getElementById("recent").children.length === 0`)
}

// Takes the pictures in docs, of a playground that somebody has started:
//
//	go run ./cmd/playground -rps 14 -bad 10% -loss 2% -delay wan -outage 40s
//	USHER_ADMIN=http://127.0.0.1:… go test ./test/operators -run TestScreenshots -screenshots ../docs
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("-screenshots is not set")
	}
	b := rig.Browse(t, os.Getenv("USHER_ADMIN")+"/")
	b.Says("live", "live")
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.Scheme(scheme)
			b.Size(width, 1180)
			b.Until(`document.getElementById("strip").width === Math.round(document.getElementById("strip").clientWidth * devicePixelRatio)`)
			b.Shoot(filepath.Join(*screenshots, "status-"+strconv.FormatInt(width, 10)+"-"+scheme+".png"))
		}
	}
}
