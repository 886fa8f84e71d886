package engine

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/preset"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/test/full"
)

var trace = flag.String("slots", "", "write how the slots followed each engine to this file, tab separated")

// A simulated engine runs a limited number of requests at once and queues the others.
// With a step, those that came between two steps wait for the next one.
type simulated struct {
	capacity int
	step     time.Duration // 0: one that finds room runs at once
	pace     time.Duration // mean time that a request takes; each half of it to one and a half

	mu               sync.Mutex
	running, waiting int
	queue            []chan struct{}
	served           int
	random           *rand.Rand
	at               time.Duration // when the figures below were last brought up to date
	start            time.Time
	crowded          time.Duration // how long some waited, in all
}

// count brings the time with a queue up to date; the mutex is held.
func (e *simulated) count() {
	now := time.Since(e.start)
	if e.waiting > 0 {
		e.crowded += now - e.at
	}
	e.at = now
}

// serve is one request's stay.
func (e *simulated) serve() {
	if e.step > 0 {
		since := time.Since(e.start)
		e.enter(1)
		time.Sleep(e.step - since%e.step)
		e.enter(-1)
	}
	e.mu.Lock()
	e.count()
	if e.running >= e.capacity {
		turn := make(chan struct{})
		e.queue = append(e.queue, turn)
		e.waiting++
		e.mu.Unlock()
		<-turn // it has the place of the one that left
	} else {
		e.running++
		e.mu.Unlock()
	}
	e.mu.Lock()
	stay := time.Duration((0.5 + e.random.Float64()) * float64(e.pace))
	e.mu.Unlock()
	time.Sleep(stay)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count()
	e.served++
	if len(e.queue) > 0 {
		close(e.queue[0])
		e.queue = e.queue[1:]
		e.waiting--
	} else {
		e.running--
	}
}

func (e *simulated) enter(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count()
	e.waiting += n
}

// RoundTrip implements http.RoundTripper: its figures.
func (e *simulated) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body := fmt.Sprintf("vllm:num_requests_running %d\nvllm:num_requests_waiting %d\n", e.running, e.waiting)
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// An outcome is the result of a run.
type outcome struct {
	off     time.Duration // when the slots were last off the engine's own figure by more than a tenth, within the first two minutes
	crowded float64       // share of the time with a queue there, after the first minute
	served  int
	probes  []int // slots, second by second
}

// run loads an engine with more than it can run, for some time. The number of slots is
// fixed, or with 0 follows the engine. quiet is the time before the load begins.
func (e *simulated) run(t *testing.T, fixed int, quiet, length time.Duration) (o outcome) {
	synctest.Test(t, func(t *testing.T) {
		e.start, e.random = time.Now(), rand.New(rand.NewPCG(1, uint64(e.capacity)))
		slots := fixed
		if slots == 0 {
			slots = preset.StartSlots
		}
		b, err := reorder.New(reorder.Config{Slots: slots, Capacity: 1000, Bytes: 1, Timeout: time.Hour})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		again := make(chan struct{}, 1)
		w, err := New(Options{
			Preset: preset.Of("vllm"), Host: "model", Timeout: time.Second, Resize: b.Resize,
			Traffic: func() Traffic {
				s := b.Stats()
				return Traffic{Load: Load{s.InFlight, s.Waiting - s.Held}, Runs: s.InFlight}
			},
			Again: func() { again <- struct{}{} },
		})
		require.NoError(t, err)
		w.client.Transport = e
		var all sync.WaitGroup
		if fixed == 0 {
			all.Go(func() { _ = w.Run(ctx) })
			all.Go(func() { probe(ctx, w, again) })
		}
		time.Sleep(quiet)
		begun := time.Now()
		// Twice as many as it can run are always there: what ends is followed by
		// another.
		for range 2*e.capacity + 10 {
			all.Go(func() {
				for ctx.Err() == nil {
					slot, err := b.Admit(ctx, reorder.Request{Unordered: true})
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond) // the way there
					e.serve()
					slot.Release()
				}
			})
		}
		var settled time.Duration
		for second := 1; time.Since(begun) < length; second++ {
			time.Sleep(time.Second)
			n := b.Stats().Slots
			o.probes = append(o.probes, n)
			if math.Abs(float64(n-e.capacity)) > 0.1*float64(e.capacity) && second <= 120 {
				o.off = time.Duration(second) * time.Second
			}
			if second == 60 {
				e.mu.Lock()
				e.count()
				settled = e.crowded
				e.mu.Unlock()
			}
		}
		e.mu.Lock()
		e.count()
		o.served, o.crowded = e.served, (e.crowded-settled).Seconds()/(length-time.Minute).Seconds()
		e.mu.Unlock()
		cancel()
		all.Wait()
	})
	return o
}

// probe is the health prober: every five seconds, or a second after it is asked.
func probe(ctx context.Context, w *Watcher, again <-chan struct{}) {
	timer := time.NewTimer(0)
	for {
		select {
		case <-timer.C:
			w.Probed(true)
			timer.Reset(5 * time.Second)
		case <-again:
			timer.Reset(time.Second)
		case <-ctx.Done():
			return
		}
	}
}

// Slots that follow an engine reach its own number within half a minute of load, keep
// the queue in Usher, and cost next to nothing compared with the best fixed number.
func TestSlotsFitTheEngine(t *testing.T) {
	var table bytes.Buffer
	for _, capacity := range capacities(1, 4, 32, 256) {
		pace := 4 * time.Second
		for _, quiet := range []time.Duration{0, 4900 * time.Millisecond} {
			name := fmt.Sprintf("%d slots, load after %s", capacity, quiet)
			got := (&simulated{capacity: capacity, pace: pace}).run(t, 0, quiet, 10*time.Minute)
			best := (&simulated{capacity: capacity, pace: pace}).run(t, capacity, quiet, 10*time.Minute)
			ratio := float64(got.served) / float64(best.served)
			t.Logf("%s: off until %s, queue there %.1f %% of the time, %.1f %% of the best throughput", name, got.off, 100*got.crowded, 100*ratio)
			require.LessOrEqual(t, got.off, 30*time.Second, name)
			require.LessOrEqual(t, got.crowded, 0.05, name)
			require.GreaterOrEqual(t, ratio, 0.97, name)
			if quiet == 0 {
				for second, n := range got.probes {
					fmt.Fprintf(&table, "%d\t%d\t%d\n", capacity, second+1, n)
				}
			}
		}
	}
	if *trace != "" {
		require.NoError(t, os.WriteFile(*trace, append([]byte("engine\tsecond\tslots\n"), table.Bytes()...), 0o644))
	}
}

// capacities leaves out the largest, which takes most of the time, unless a full run is
// asked for.
func capacities(list ...int) []int {
	if full.Run() || *trace != "" {
		return list
	}
	return list[:len(list)-1]
}

// An engine that admits requests only between its steps always has some waiting for the
// next one: that is not a queue, and must not cost throughput.
func TestSlotsOfAnEngineThatSteps(t *testing.T) {
	for _, pace := range []time.Duration{500 * time.Millisecond, 4 * time.Second} {
		for _, capacity := range capacities(4, 32, 256) {
			run := func(slots int) outcome {
				return (&simulated{capacity: capacity, pace: pace, step: 30 * time.Millisecond}).run(t, slots, 0, 3*time.Minute)
			}
			got, fixed := run(0), run(capacity)
			ratio := float64(got.served) / float64(fixed.served)
			t.Logf("%d slots, requests of %s: %d slots in the end, %.1f %% of the best throughput", capacity, pace, got.probes[len(got.probes)-1], 100*ratio)
			require.GreaterOrEqual(t, ratio, 0.9)
		}
	}
}
