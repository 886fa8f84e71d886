// Package chaos runs seeded random campaigns against the built binary: clients and
// a model server misbehave by plan, processes are killed, keys rotated and limits
// set. The oracle is a ledger of what the model server saw.
//
//	go test ./test/chaos                              a short campaign
//	go test ./test/chaos -requests 100000             the one that CI runs
//	go test ./test/chaos -for 30m -timeout 0          campaigns for half an hour
//	go test ./test/chaos -requests 5000 -seed 42      the plan of an earlier campaign
//
// A seed replays the plan: what each client tries, where it breaks off, which events
// happen and in which order. The timing is not repeated.
package chaos

import (
	"crypto/tls"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/rig"
)

var (
	total    = flag.Int("requests", full.Or(400, 1500), "requests of a campaign")
	duration = flag.Duration("for", 0, "repeat campaigns, of -requests each, for this long")
	seedFlag = flag.Uint64("seed", 0, "of the plan; 0: a new one")
)

// clients is the number of concurrent clients.
const clients = 48

// sideBySide is the number of requests from which on a campaign runs its phases one
// after the other. In a shorter campaign they mostly wait for time-outs, so they run
// in parallel.
const sideBySide = 1000

// phases are the phases of a campaign.
var phases = []phase{
	{name: "plain", share: 60, events: []weighted[string]{
		{6, "kill usher"}, {2, "stop usher"}, {6, "kill model"}, {2, "flaky model"}, {4, "rotate key"}, {2, "lying keys"},
		{2, "hang up"}, {4, "siege"}, {4, "harm state"}, {4, "deaf log"}, {2, "slow readers"},
		{1, "few descriptors"}, // takes ten seconds, in which little gets through
	}},
	{name: "TLS", share: 20, tls: true, events: []weighted[string]{
		{3, "new certificate"}, {1, "hang up"}, {1, "kill model"}, {1, "kill usher"}, {1, "siege"}, {1, "deaf log"},
	}},
	{name: "tight", share: 20, files: 256, memory: "64MiB", events: []weighted[string]{
		{3, "crowd"}, {1, "kill model"}, {1, "siege"}, {1, "rotate key"}, {1, "deaf log"},
	}},
}

func TestMain(m *testing.M) { rig.Main(m) }

func TestChaos(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the measures of a process are those of Linux")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64() >> 1
	}
	for end := time.Now().Add(*duration); ; seed++ {
		campaign(t, seed, *total)
		if !time.Now().Before(end) {
			return
		}
	}
}

// campaign runs all phases.
func campaign(t *testing.T, seed uint64, total int) {
	start, done, judged := time.Now(), 0, 0
	happened := map[string]int{}
	t.Logf("seed %d, %d requests", seed, total)
	var mu sync.Mutex
	phasesPassed := t.Run("phases", func(t *testing.T) {
		for _, ph := range phases {
			first := done
			done += total * ph.share / 100
			end := done
			passed := t.Run(ph.name, func(t *testing.T) {
				if total < sideBySide {
					t.Parallel()
				}
				w := run(t, seed, ph, first, end)
				if w.failed() {
					faults := strings.Join(w.faults, "\n")
					require.FailNow(t, "an invariant is broken", "%s\n\nusher's last lines:\n%s\n\nthe plan again: go test ./test/chaos -count=1 -requests %d -seed %d",
						faults, w.usher.last(faults), total, seed)
				}
				t.Logf("%d requests, %d at the model server: %s", end-first, w.ledger.count(), w.tallied())
				mu.Lock()
				defer mu.Unlock()
				judged += w.tally[judgedCalm]
				for what, times := range w.tally {
					happened[what] += times
				}
				for what, times := range w.acted {
					happened["model server: "+what] += times
				}
			})
			if !passed {
				return
			}
		}
	})
	if !phasesPassed {
		t.FailNow()
	}
	require.Greater(t, judged, total/20, "hardly any request was judged strictly: the campaign shows little")
	if total >= 100_000 {
		for _, what := range all() {
			require.NotZero(t, happened[what], "%s: the campaign shows nothing of it", what)
		}
	}
	t.Logf("seed %d: %d requests in %.0f s", seed, done, time.Since(start).Seconds())
}

// all returns the names of everything that is counted: each event and each fault of
// the model server.
func all() (names []string) {
	for _, ph := range phases {
		for _, e := range ph.events {
			names = append(names, "event: "+e.value)
		}
	}
	for _, side := range faultDie {
		if side.weight > 0 {
			names = append(names, "model server: "+side.value)
		}
	}
	return names
}

// run runs one phase: the requests from first to end, with events in between.
func run(t *testing.T, seed uint64, ph phase, first, end int) *world {
	w, err := build(t, seed, ph)
	require.NoError(t, err)
	require.NoError(t, w.recovers("usher is up"))
	base, err := w.usher.metrics()
	require.NoError(t, err)
	next := atomic.Int64{}
	next.Store(int64(first))
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			l := &lane{w: w}
			defer l.drop("close")
			for {
				index := int(next.Add(1)) - 1
				if index >= end || w.failed() {
					return
				}
				w.request(l, index)
			}
		})
	}
	working.Go(func() { w.trouble(&next, first, end) })
	working.Wait()
	w.close(base)
	return w
}

// trouble makes the events happen, each after a number of requests have begun in calm
// weather since the last.
func (w *world) trouble(next *atomic.Int64, first, end int) {
	every := min(max(*total/40, 80), 250)
	for number := first; ; number++ {
		for at := next.Load() + int64(every); next.Load() < at; time.Sleep(time.Millisecond) {
			if w.failed() || next.Load() >= int64(end) {
				return
			}
		}
		r := rand.New(rand.NewPCG(w.seed, eventStream|uint64(number)))
		name := deal(w.seed, number, w.phase.events)
		w.count("event: " + name)
		began := time.Now()
		if err := events[name](w, r); err != nil {
			w.fail("%s: %v", name, err)
		}
		w.lasted["event: "+name] += time.Since(began)
	}
}

func (w *world) tallied() string {
	var b strings.Builder
	for _, name := range sortedKeys(w.tally) {
		fmt.Fprintf(&b, "\n  %7d %s", w.tally[name], name)
		if d := w.lasted[name]; d > 0 {
			fmt.Fprintf(&b, ", %.1f s", d.Seconds())
		}
	}
	return b.String()
}

type netConn = net.Conn

func tlsOf(l *lane) *tls.Conn { return l.conn.(*tls.Conn) }

// reserve finds an address for a server that will be killed and started again.
func reserve(t testing.TB) string {
	t.Helper()
	address, err := loopback.Address()
	require.NoError(t, err)
	return address
}
