package chaos

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// What tickets are signed for.
const (
	endpoint  = "chaos"
	workerURL = "https://worker.example:41234"
	window    = 1 << 16
	slots     = 16
	capacity  = 64
)

// A phase is one part of a campaign. It has a world with settings of its own.
type phase struct {
	name   string
	share  int // percent of the campaign's requests
	tls    bool
	files  int // ulimit -n
	memory string
	events []weighted[string]
}

// A world is Usher and everything around it.
type world struct {
	t            testing.TB
	seed         uint64
	phase        phase
	usher        *usher
	model        *model
	keys         *keys
	certificates *certificates
	ledger       *ledger
	weather      weather
	reqnum       atomic.Int64
	aside        atomic.Int64             // outsiders so far
	lasted       map[string]time.Duration // time spent on events, by their names in the tally; only trouble uses it

	mu     sync.Mutex
	faults []string
	tally  map[string]int
	acted  map[string]int // faults of the model server, by name
}

// A weather distinguishes calm from unrest: while something is done to the world,
// good requests may fail.
type weather struct {
	changes atomic.Int64 // beginnings and ends of storms
	storms  atomic.Int64 // under way
}

func (w *weather) calm() bool { return w.storms.Load() == 0 }

// watch returns a function that reports whether it has been calm since.
func (w *weather) watch() func() bool {
	before := w.changes.Load()
	calm := w.calm()
	return func() bool { return calm && w.changes.Load() == before }
}

// storm starts unrest, which lasts until the function it returns is called, and any other
// storm that began before is over.
func (w *weather) storm() (over func()) {
	w.storms.Add(1)
	w.changes.Add(1)
	return func() {
		w.changes.Add(1)
		w.storms.Add(-1)
	}
}

// fail records a broken invariant. The campaign ends soon afterwards.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < 10 {
		w.faults = append(w.faults, w.phase.name+": "+fmt.Sprintf(format, args...))
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.faults) > 0
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally[what]++
}

// act counts a fault of the model server.
func (w *world) act(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acted[fault]++
}

// build makes and starts the world of a phase.
func build(t testing.TB, seed uint64, ph phase) (*world, error) {
	w := &world{t: t, seed: seed, phase: ph, ledger: newLedger(), tally: map[string]int{}, acted: map[string]int{}, lasted: map[string]time.Duration{}}
	w.reqnum.Store(1000)
	w.model = &model{seed: seed, ledger: w.ledger, fail: w.fail, acts: w.act, address: reserve(t), conns: map[netConn]struct{}{}}
	if err := w.model.start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { w.model.kill(false) })
	var err error
	if w.keys, err = newKeys(t, !ph.tls); err != nil {
		return nil, err
	}
	dir := t.TempDir()
	w.usher = &usher{public: reserve(t), admin: reserve(t), files: ph.files, folder: dir, state: filepath.Join(dir, "state"), fail: w.fail}
	w.usher.settings = []string{
		"USHER_ENDPOINT=" + endpoint, "USHER_WORKER_URL=" + workerURL,
		"USHER_LISTEN_ADDR=" + w.usher.public, "USHER_ADMIN_ADDR=" + w.usher.admin,
		"USHER_UPSTREAM_URL=http://" + w.model.address, "USHER_PUBLIC_KEY_URL=" + w.keys.url(),
		"USHER_PUBLIC_KEY_REFRESH=1s", "USHER_STATE_FILE=" + w.usher.state,
		fmt.Sprintf("USHER_REPLAY_WINDOW=%d", window), fmt.Sprintf("USHER_MAX_CONCURRENCY=%d", slots),
		fmt.Sprintf("USHER_QUEUE_CAPACITY=%d", capacity), "USHER_QUEUE_TIMEOUT=5s", "USHER_REORDER_MAX_HOLD=10ms",
		fmt.Sprintf("USHER_MAX_SESSIONS=%d", mostSessions), "USHER_UPSTREAM_TIMEOUT=6s", "USHER_STREAM_IDLE_TIMEOUT=3s", "USHER_READ_TIMEOUT=5s", "USHER_WRITE_TIMEOUT=" + writeTimeout.String(),
		"USHER_HEALTH_INTERVAL=200ms", "USHER_DRAIN_DELAY=0s", "USHER_DRAIN_TIMEOUT=1s", "USHER_LOG_LEVEL=info",
	}
	if ph.memory != "" {
		w.usher.settings = append(w.usher.settings, "GOMEMLIMIT="+ph.memory)
	}
	if ph.tls {
		if w.certificates, err = newCertificates(dir, w.usher.public); err != nil {
			return nil, err
		}
		w.usher.settings = append(w.usher.settings,
			"USHER_TLS_CERT_FILE="+w.certificates.cert, "USHER_TLS_KEY_FILE="+w.certificates.key)
	}
	t.Cleanup(func() {
		if w.usher.cmd != nil {
			_, _ = w.usher.end(syscall.SIGKILL)
		}
	})
	if err := w.usher.start(); err != nil {
		return nil, fmt.Errorf("%w; usher said:\n%s", err, w.usher.last(""))
	}
	return w, nil
}

// issue makes the next ticket, with the current key.
func (w *world) issue() ticket {
	key, place := w.keys.current()
	t := ticket{key: place, Ticket: key.Sign(autoscaler.Claims{
		Cost: autoscaler.Float(256), Endpoint: endpoint, Reqnum: w.reqnum.Add(1), URL: workerURL,
	})}
	w.ledger.issued(t)
	return t
}

// outsiders is the first index of requests that are not part of the plan: the events
// send them to see how things stand.
const outsiders = 1 << 40

func outsider(index int) plan {
	lines, fault := 3, "length"
	if index >= slowReaders {
		lines, fault = slowLines, [...]string{"length", "chunks", "events"}[index%3]
	}
	if index >= fullReaders {
		fault = "flood, reset"
	}
	return plan{
		index: index, kind: honest, manner: whole, leave: never, exit: "close",
		fault: fault, route: "/generate", fresh: true, size: 20, lines: lines,
	}
}

// send sends a ticket as an honest client that is not part of the plan.
func (w *world) send(t ticket) outcome {
	o, _ := w.sendNamed(t)
	return o
}

// sendNamed is like send, and returns the request's id too.
func (w *world) sendNamed(t ticket) (outcome, id) {
	l := &lane{w: w}
	defer l.drop("close")
	p := outsider(outsiders + int(w.aside.Add(1)))
	i := id{t.key, t.Reqnum, p.index, 0}
	o := l.do(p.ask(i, t))
	w.judge(t, i, o)
	return o, i
}

// presend are the refusals that come before anything is sent: the ticket stays good.
const presend = " key_unavailable queue_full queue_timeout upstream_unreachable cost_exceeded draining "

// judge checks the outcome of a good ticket against what must always hold.
func (w *world) judge(t ticket, i id, o outcome) {
	if o.left {
		w.count("left")
		return
	}
	w.count(o.sees())
	switch o.refusal {
	case "", "upstream_broken", "upstream_timeout",
		"session_unknown": // the session ended while the request was at the model server
		return // the request may have been sent
	case "reqnum_stale":
		if age := w.reqnum.Load() - t.Reqnum; age < window-slots {
			w.fail("an honest number inside the window is not refused: %s is %d old", i, age)
		}
	case "internal":
		w.fail("usher is sound: %s was answered with an internal fault", i)
	}
	w.ledger.refuse(i, o.refusal)
}

func unsent(o outcome) bool {
	return o.refusal != "" && strings.Contains(presend, " "+o.refusal+" ")
}

// close ends the world: the ledger must balance and Usher must settle.
func (w *world) close(base map[string]float64) {
	if !w.failed() {
		judged, broken := w.tally[judgedCalm], w.tally[brokenOff]
		if broken > 20+judged/50 {
			w.fail("a good request in calm weather is served: of %d that were judged %d were broken off", judged, broken)
		}
		hands := 0.0
		if w.phase.tls {
			hands = 16
		}
		stand, err := w.usher.settles(base, *total >= 20_000, hands)
		if err != nil {
			w.fail("what was taken is given back: %v", err)
		}
		w.t.Logf("%s: at the end%s", w.phase.name, stand)
		if err := w.ledger.audit(); err != nil {
			w.fail("%v", err)
		}
	}
	if _, err := w.usher.end(terminate); err != nil {
		w.fail("%v", err)
	}
}

// Names of things that are counted.
const (
	judgedCalm = "judged in calm weather"
	brokenOff  = "broken though well served"
)

// patience bounds every wait. Nothing here is a measurement.
const patience = 30 * time.Second
