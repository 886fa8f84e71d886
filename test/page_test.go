package test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
)

var screenshots = flag.String("screenshots", "", "directory that TestScreenshots writes to; its traffic comes from the playground")

// A browser is a real one, headless, with one page open.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu   sync.Mutex
	said []string // what stands in the console
}

// browse starts a browser and opens the address.
func browse(t testing.TB, address string) *browser {
	t.Helper()
	b := &browser{t: t}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need(t, "chromium", "chromium")), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	var leave context.CancelFunc
	b.ctx, leave = chromedp.NewContext(allocator)
	var listening sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(b.ctx)
		leave()
		stop()
		listening.Wait()
	})
	b.size(1280, 900)
	console := chromedp.Console(b.ctx)
	listening.Go(func() {
		for message, err := range console {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.said = append(b.said, string(message.Type)+": "+message.Text)
			b.mu.Unlock()
		}
	})
	require.NoError(t, chromedp.Do(b.ctx, chromedp.Navigate(address)))
	return b
}

func (b *browser) size(width, height int64) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height)))
}

// scheme asks for "light" or "dark", and for no motion.
func (b *browser) scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	require.NoError(b.t, err)
}

// until waits for a JavaScript condition.
func (b *browser) until(condition string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("Boolean("+condition+")",
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		require.NoError(b.t, err, "%s; the page says:\n%s\nthe console: %q", condition, text, b.console())
	}
}

// says waits until the element with the id shows a text.
func (b *browser) says(id, text string) {
	b.t.Helper()
	b.until(`document.getElementById("` + id + `").textContent.includes(` + quote(text) + `)`)
}

func (b *browser) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.said...)
}

func (b *browser) shoot(path string) {
	b.t.Helper()
	image, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(path, image, 0o644))
}

// The page in a real browser: it loads without a word in the console, follows,
// and shows a gap and its filling, a refusal and an outage when they happen.
func TestPageInABrowser(t *testing.T) {
	full.Only(t)
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_REORDER_HOLD": "60s", "USHER_REORDER_MAX_HOLD": "60s", "USHER_QUEUE_TIMEOUT": "60s"})).ready()
	b := browse(t, "http://"+u.admin+"/")
	b.says("live", "live")
	b.says("verdict-text", "Ready and idle")
	b.says("strip-text", "No signed number has come yet")
	b.says("reasons-none", "Everybody was served")

	require.Equal(t, 200, u.post("/generate", s.numbered(5).flat("")).status)
	b.says("strip-text", "Next expected 6: 0 missing")
	ahead := make(chan int, 1)
	go func() { ahead <- u.post("/generate", s.numbered(7).flat("")).status }()
	b.says("strip-text", "Next expected 6: 1 missing, 1 waiting (1 held for a gap)")
	require.Equal(t, 200, u.post("/generate", s.numbered(6).flat("")).status)
	require.Equal(t, 200, <-ahead)
	b.says("strip-text", "Next expected 8: 0 missing, 0 waiting, 0 in flight; of those shown 3 served")

	// The keyboard reads the strip.
	require.NoError(t, chromedp.Do(b.ctx, chromedp.Focus(chromedp.CSS("#strip")), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft)))
	b.says("strip-one", "6: served, after a higher one, in time: it filled a gap.")

	refused := u.post("/generate", s.numbered(8).with("cost", "1.0").flat(""))
	require.Equal(t, "bad_signature", refused.code())
	b.says("recent", refused.header.Get("X-Request-Id"))
	b.says("reasons", "this is not the autoscaler's key")
	b.says("verdict-text", "25 % are refused because the signature does not fit")

	m.CloseClientConnections()
	m.Close()
	b.until(`document.getElementById("verdict").dataset.level === "bad"`)
	b.says("verdict-text", "Not ready: the model server does not answer its health probe")
	b.says("checks", "model server: ")

	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.size(390, 844)
		b.until("innerWidth === 390 && document.documentElement.scrollWidth <= 390")
		b.size(1280, 900)
	}
	require.Empty(t, b.console())

	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait(), "an open page holds up nothing")
	b.until(`document.getElementById("live").dataset.state === "off"`)
	// The next one at the same address takes the open page over.
	start(t, settings(newModel(t, nil), s).with(env{"USHER_ADMIN_ADDR": u.admin})).ready()
	b.says("live", "live")
	b.says("verdict-text", "Ready and idle")
	b.says("strip-text", "No signed number has come yet")
	b.says("recent-none", "None since the start")
	b.until(`document.getElementById("recent").children.length === 0`)
}

// The pictures in docs, taken of a playground that somebody has started:
//
//	go run ./cmd/playground -rps 14 -bad 10% -loss 2% -delay wan -outage 40s
//	USHER_ADMIN=http://127.0.0.1:… go test ./test -run TestScreenshots -screenshots ../docs
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("-screenshots is not set")
	}
	b := browse(t, os.Getenv("USHER_ADMIN")+"/")
	b.says("live", "live")
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.size(width, 1180)
			b.until(`document.getElementById("strip").width === Math.round(document.getElementById("strip").clientWidth * devicePixelRatio)`)
			b.shoot(filepath.Join(*screenshots, "status-"+strconv.FormatInt(width, 10)+"-"+scheme+".png"))
		}
	}
}
