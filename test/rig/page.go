package rig

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A Browser is a real, headless browser with one page open.
type Browser struct {
	t   testing.TB
	Ctx context.Context

	mu   sync.Mutex
	said []string // what stands in the console
}

// Browse starts a browser, with more options if any are given, and opens the address.
func Browse(t testing.TB, address string, more ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	b := &Browser{t: t}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(Need(t, "chromium", "chromium")),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	var leave context.CancelFunc
	b.Ctx, leave = chromedp.NewContext(allocator)
	var listening sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(b.Ctx)
		leave()
		stop()
		listening.Wait()
	})
	b.Size(1280, 900)
	console := chromedp.Console(b.Ctx)
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
	b.Visit(address)
	return b
}

// Visit opens an address in the page.
func (b *Browser) Visit(address string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.Ctx, chromedp.Navigate(address)))
}

func (b *Browser) Size(width, height int64) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.Ctx, chromedp.EmulateViewport(width, height)))
}

// Scheme makes the page prefer "light" or "dark", and no motion.
func (b *Browser) Scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.Ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	require.NoError(b.t, err)
}

// Until waits for a JavaScript condition.
func (b *Browser) Until(condition string) {
	b.t.Helper()
	_, err := chromedp.Run(b.Ctx, chromedp.Poll[bool]("Boolean("+condition+")",
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(Patience)))
	if err != nil {
		text, _ := chromedp.Run(b.Ctx, chromedp.Evaluate[string]("document.body.innerText"))
		require.NoError(b.t, err, "%s; the page says:\n%s\nthe console: %q", condition, text, b.Console())
	}
}

// Says waits until the element with the ID shows a text.
func (b *Browser) Says(id, text string) {
	b.t.Helper()
	b.Until(`document.getElementById("` + id + `").textContent.includes(` + Quote(text) + `)`)
}

func (b *Browser) Console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.said...)
}

func (b *Browser) Shoot(path string) {
	b.t.Helper()
	image, err := chromedp.Run(b.Ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(path, image, 0o644))
}
