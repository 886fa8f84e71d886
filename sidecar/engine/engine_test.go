package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/preset"
	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A told records what a Watcher reported.
type told struct {
	slots   []int
	reports []string
	traffic Traffic
	again   int
}

// watch makes a Watcher of a server that answers as given. It reads nothing yet.
func watch(t *testing.T, engine string, answer http.HandlerFunc) (*Watcher, *told) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	told := &told{}
	w, err := New(Options{
		Preset: preset.Of(engine), Network: "tcp", Address: server.Listener.Addr().String(), Host: "model", PathPrefix: "/p",
		Authorization: "Bearer x", Timeout: 10 * time.Second,
		Traffic: func() Traffic { return told.traffic },
		Resize:  func(n int) { told.slots = append(told.slots, n) },
		Again:   func() { told.again++ },
		Report: func(text string, err error) {
			told.reports = append(told.reports, strings.TrimSpace(fmt.Sprint(text, " ", err)))
		},
	})
	require.NoError(t, err)
	return w, told
}

func TestWatcherReadsFigures(t *testing.T) {
	w, told := watch(t, "vllm", func(rw http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/p/metrics", r.URL.Path)
		require.Equal(t, "Bearer x", r.Header.Get("Authorization"))
		require.Equal(t, "model", r.Host)
		_, _ = io.WriteString(rw, "vllm:num_requests_running 8\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.5\n")
	})
	require.Equal(t, State{Slots: "starts at 8"}, w.State())
	told.traffic = Traffic{Load: Load{InFlight: 8, Queued: 1}, Runs: 8}
	w.look(t.Context(), true)
	got := w.State()
	require.True(t, got.Known)
	require.Equal(t, Figures{8, 0, 0.5}, got.Figures)
	require.Equal(t, []int{16}, told.slots)
	require.Equal(t, 1, told.again, "the next probe is to come soon")
	require.Contains(t, got.Slots, "16, because all were taken")
}

// A server that seems to have requests waiting is asked again: those that only wait for
// its next step are not a queue.
func TestWatcherTakesTheFewest(t *testing.T) {
	var asked atomic.Int64
	w, _ := watch(t, "tgi", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(rw, "tgi_batch_current_size 1\ntgi_queue_size %d\n", 3-asked.Add(1))
	})
	w.look(t.Context(), true)
	require.EqualValues(t, 3, asked.Load())
	require.Equal(t, 0, w.State().Figures.Waiting)
}

func TestWatcherWithoutFigures(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		fault  string
	}{
		"no such page": {http.NotFound, "/metrics answered 404"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, "/metrics answered 307"},
		"others": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }, "metrics not found"},
		"a hang": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		"a drip": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "# more\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		}, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, told := watch(t, "sglang", tt.answer)
			if tt.fault == "deadline exceeded" {
				w.client.Timeout = 200 * time.Millisecond
			}
			w.look(t.Context(), true)
			require.False(t, w.State().Known)
			require.Contains(t, w.State().Fault, tt.fault)
			require.Empty(t, told.slots)
			w.look(t.Context(), true)
			w.look(t.Context(), true)
			require.Equal(t, []int{preset.DefaultSlots}, told.slots)
			require.Contains(t, w.State().Slots, tt.fault)
			require.Len(t, told.reports, 2, "once, and the slots: %v", told.reports)
			w.look(t.Context(), true)
			require.Len(t, told.slots, 1)
		})
	}
}

func TestWatcherLosesFiguresAndFindsThemAgain(t *testing.T) {
	var sick atomic.Bool
	w, told := watch(t, "tgi", func(rw http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			rw.WriteHeader(500)
			return
		}
		_, _ = io.WriteString(rw, "tgi_batch_current_size 1\ntgi_queue_size 0\n")
	})
	w.look(t.Context(), true)
	sick.Store(true)
	for range 5 {
		w.look(t.Context(), true)
	}
	require.False(t, w.State().Known)
	require.Empty(t, told.slots, "it has figures; the slots stay")
	sick.Store(false)
	w.look(t.Context(), true)
	require.True(t, w.State().Known)
	require.Equal(t, []string{"/metrics answered 500", "<nil>"}, told.reports)
	w.look(t.Context(), false)
	require.Equal(t, State{Fault: "the model server is not healthy", Slots: "starts at 8"}, w.State())
}

// What is reported is seen in the State by then.
func TestReportsFollowTheState(t *testing.T) {
	w, _ := watch(t, "llamacpp", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/p/props" {
			_, _ = io.WriteString(rw, `{"total_slots":4}`)
			return
		}
		http.Error(rw, "no metrics", http.StatusNotImplemented)
	})
	var seen []State
	w.o.Report = func(string, error) { seen = append(seen, w.State()) }
	w.look(t.Context(), true)
	require.Len(t, seen, 2, "the slots, and that there are no figures")
	for _, s := range seen {
		require.Equal(t, "the model server states 4", s.Slots)
		require.Contains(t, s.Fault, "answered 501")
	}
}

func TestWatcherTakesStatedSlots(t *testing.T) {
	var slots atomic.Int64
	slots.Store(4)
	answer := func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/p/props" {
			_, _ = fmt.Fprintf(rw, `{"default_generation_settings":{"id":0},"total_slots":%d,"chat_template":"…"}`, slots.Load())
			return
		}
		http.Error(rw, "This server does not support metrics endpoint.", http.StatusNotImplemented)
	}
	w, told := watch(t, "llamacpp", answer)
	for range 4 {
		w.look(t.Context(), true)
	}
	require.Equal(t, []int{4}, told.slots, "it has no figures, and yet it tells")
	require.Equal(t, "the model server states 4", w.State().Slots)
	slots.Store(2)
	w.look(t.Context(), true)
	require.Equal(t, []int{4}, told.slots)
	w.look(t.Context(), false) // it may be another that comes back
	w.look(t.Context(), true)
	require.Equal(t, []int{4, 2}, told.slots)
}

func TestWatcherFindsOrphans(t *testing.T) {
	w, told := watch(t, "tgi", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "tgi_batch_current_size 5\ntgi_queue_size 0\n")
	})
	w.o.Resize = nil
	look := func(ago time.Duration, runs int, uncertain bool) int {
		w.started = time.Now().Add(-ago)
		told.traffic = Traffic{Load: Load{InFlight: 1}, Runs: runs, Uncertain: uncertain}
		w.look(t.Context(), true)
		return w.State().Orphans
	}
	require.Equal(t, 0, look(0, 2, false))
	require.Equal(t, 3, look(11*time.Second, 2, false))
	require.Equal(t, 1, look(22*time.Second, 4, false))
	require.Equal(t, 0, look(33*time.Second, 1, true))
	require.Equal(t, "", w.State().Slots, "they are fixed")
}

func TestWatcherRunsUntilItsEnd(t *testing.T) {
	w, _ := watch(t, "tgi", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "tgi_batch_current_size 5\ntgi_queue_size 0\n")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for range 10 {
		w.Probed(true) // never blocks
	}
	require.Eventually(t, func() bool { return w.State().Known }, 5*time.Second, time.Millisecond)
	cancel()
	require.True(t, errors.Is(<-ended, context.Canceled))
	w.Probed(true)
	w.Probed(true)
}

func TestNewWantsAnEngineThatTells(t *testing.T) {
	for _, o := range []Options{{}, {Preset: preset.Of("ollama"), Timeout: 1, Traffic: func() Traffic { return Traffic{} }}, {Preset: preset.Of("vllm"), Timeout: 1}} {
		_, err := New(o)
		require.Error(t, err)
	}
}
