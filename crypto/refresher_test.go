package crypto

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A recorder records what a Refresher installs and reports.
type recorder struct {
	mu    sync.Mutex
	keys  []Fingerprint
	tries []error
	times []time.Time
}

func (r *recorder) install(keys []*Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.keys = append(r.keys, k.Fingerprint())
	}
}

func (r *recorder) report(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries = append(r.tries, err)
	r.times = append(r.times, time.Now())
}

func (r *recorder) last() Fingerprint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[len(r.keys)-1]
}

// seen returns what was reported, and when.
func (r *recorder) seen() ([]error, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tries), slices.Clone(r.times)
}

// count returns how many tries were reported.
func (r *recorder) count() int {
	tries, _ := r.seen()
	return len(tries)
}

// fault returns the i-th report, counted from the end if i is negative.
func (r *recorder) fault(i int) error {
	tries, _ := r.seen()
	if i < 0 {
		i += len(tries)
	}
	return tries[i]
}

// transport answers without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func respond(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
}

func start(t *testing.T, source Source, pin *Fingerprint) (*recorder, *Refresher) {
	t.Helper()
	rec := &recorder{}
	r, err := NewRefresher(RefresherConfig{Source: source, Pin: pin, Interval: 5 * time.Minute, Install: rec.install, Report: rec.report})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	return rec, r
}

// A failed fetch is retried without end, with exponential backoff: half a second at
// first, thirty seconds at most, with jitter.
func TestBackoff(t *testing.T) {
	private, _ := testKey(t)
	text := pkix(t, &private.PublicKey)
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		source := URLs([]string{"https://a/", "https://b/"}, nil, transport(func(r *http.Request) (*http.Response, error) {
			switch {
			case !works.Load() && r.URL.Host == "a":
				return nil, errors.New("no route")
			case !works.Load():
				return respond(500, "")
			case r.URL.Host == "a":
				return respond(200, "<html>rubbish")
			}
			return respond(200, text)
		}))
		rec, _ := start(t, source, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		_, times := rec.seen()
		require.Greater(t, len(times), 15)
		for i := 1; i < len(times); i++ {
			pause := times[i].Sub(times[i-1])
			base := min(firstBackoff<<(min(i, 20)-1), maxBackoff)
			require.GreaterOrEqual(t, pause, base/2)
			require.LessOrEqual(t, pause, min(base+base/2, maxBackoff))
		}
		require.ErrorContains(t, rec.fault(0), "no route")
		require.ErrorContains(t, rec.fault(0), "https://b/")

		works.Store(true)
		time.Sleep(maxBackoff)
		synctest.Wait()
		require.NoError(t, rec.fault(-1), "the good key at the second address is found behind the rubbish at the first")
		fetched := rec.count()
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		require.Equal(t, fetched+2, rec.count(), "then every five minutes")

		works.Store(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		_, times = rec.seen()
		pause := times[len(times)-1].Sub(times[len(times)-2])
		require.Less(t, pause, maxBackoff+time.Second)
	})
}

func TestPoke(t *testing.T) {
	private, _ := testKey(t)
	text := pkix(t, &private.PublicKey)
	synctest.Test(t, func(t *testing.T) {
		rec, r := start(t, URLs([]string{"https://a/"}, nil, transport(func(*http.Request) (*http.Response, error) { return respond(200, text) })), nil)
		synctest.Wait()
		require.Equal(t, 1, rec.count())
		r.Poke()
		synctest.Wait()
		require.Equal(t, 2, rec.count())
	})
}

func TestPin(t *testing.T) {
	private, key := testKey(t)
	other, _ := testKey(t)
	pin := key.Fingerprint()
	good, bad := pkix(t, &private.PublicKey), pkix(t, &other.PublicKey)
	for text, want := range map[string]error{good: nil, bad: ErrPinMismatch, bad + good: nil} {
		rec := &recorder{}
		r, err := NewRefresher(RefresherConfig{Source: Inline([]byte(text)), Pin: &pin, Interval: time.Second, Install: rec.install, Report: rec.report})
		require.NoError(t, err)
		require.ErrorIs(t, r.Load(t.Context()), want)
		require.Equal(t, want == nil, len(rec.keys) == 1, "of a bundle the pinned one is taken, and no other")
		require.True(t, want != nil || rec.last() == pin)
	}
}

// A file is followed: replaced, switched as a symbolic link, cut short, removed.
// A text that is not a key changes nothing.
func TestFileIsFollowed(t *testing.T) {
	first, a := testKey(t)
	second, b := testKey(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("key.pem", pkix(t, &first.PublicKey))
	synctest.Test(t, func(t *testing.T) {
		rec, _ := start(t, File(path), nil)
		look := func() {
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		look()
		require.Equal(t, a.Fingerprint(), rec.last())
		write("key.pem", pkix(t, &second.PublicKey))
		look()
		require.Equal(t, b.Fingerprint(), rec.last())

		write("key.pem", pkix(t, &first.PublicKey)[:100])
		told := rec.count()
		look()
		require.Equal(t, b.Fingerprint(), rec.last(), "half a key is none")
		require.Equal(t, told+1, rec.count(), "and told once")
		require.ErrorIs(t, rec.fault(told), ErrKeyFormat)

		require.NoError(t, os.Remove(path))
		look()
		require.ErrorIs(t, rec.fault(-1), os.ErrNotExist)
		require.Equal(t, b.Fingerprint(), rec.last())

		write("one", pkix(t, &first.PublicKey))
		require.NoError(t, os.Symlink("one", path))
		look()
		require.Equal(t, a.Fingerprint(), rec.last())
		write("two", pkix(t, &second.PublicKey))
		require.NoError(t, os.Symlink("two", path+".new"))
		require.NoError(t, os.Rename(path+".new", path))
		look()
		require.Equal(t, b.Fingerprint(), rec.last())
	})
}

func TestMissingFileIsAFaultAtLoad(t *testing.T) {
	rec := &recorder{}
	r, err := NewRefresher(RefresherConfig{Source: File(filepath.Join(t.TempDir(), "none")), Interval: time.Second, Install: rec.install, Report: rec.report})
	require.NoError(t, err)
	require.ErrorIs(t, r.Load(t.Context()), os.ErrNotExist)
}
