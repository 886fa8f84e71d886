package report

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// A Kind is one of the two things that are reported.
type Kind string

// The kinds.
const (
	KindStatus Kind = "worker_status"   // the state of the worker
	KindEnded  Kind = "delete_requests" // which requests ended
)

// Kinds lists both kinds.
var Kinds = []Kind{KindStatus, KindEnded}

func (k Kind) path() string { return "/" + string(k) + "/" }

const (
	busyInterval = time.Second      // between reports while something changes
	idleInterval = 10 * time.Second // else, and until the worker is loaded

	leastBackoff, mostBackoff = time.Second, 10 * time.Second

	// lastTries is how long the last reports may take in total, once Run has to end.
	lastTries = 3 * time.Second
)

// Options are what a Reporter needs; all but Transport and Tried are required.
type Options struct {
	Generation Generation
	Addresses  []string // of the autoscaler, tried in turn
	Identity   Identity
	Tally      *Tally
	State      func(now time.Time) State

	Transport http.RoundTripper          // nil: one of its own
	Tried     func(Kind, Outcome, error) // after each try at an address
	DiskUsed  func() (bytes uint64, ok bool)
}

// A Said is what the last acknowledged report said.
type Said struct {
	At      time.Time // when it was sent
	Load    float64   // workload in work
	Taken   float64   // workload taken in since the one before
	Working int64     // requests in work
	State   State
}

// A Reporter sends reports. Make it with New and call Run once; the other methods
// are safe for concurrent use.
type Reporter struct {
	options Options
	poster  *poster
	poked   chan struct{}
	said    atomic.Pointer[Said]

	// Used by Run only.
	base   baseline
	batch  batch
	status lane
	ended  lane
	last   struct { // in the last acknowledged status
		at     time.Time
		state  State
		disk   uint64
		loaded bool // the load time was in one
	}
}

// New makes a reporter; it starts nothing.
func New(o Options) (*Reporter, error) {
	switch {
	case len(o.Addresses) == 0:
		return nil, errors.New("report: no address")
	case o.Tally == nil || o.State == nil:
		return nil, errors.New("report: no tally or no state")
	case o.Generation != Generation2026 && o.Generation != Generation2024:
		return nil, errors.New("report: unknown generation " + string(o.Generation))
	}
	if o.Tried == nil {
		o.Tried = func(Kind, Outcome, error) {}
	}
	if o.DiskUsed == nil {
		o.DiskUsed = diskUsed
	}
	if o.Transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.ResponseHeaderTimeout = tryTimeout
		own.MaxResponseHeaderBytes = maxAnswer
		o.Transport = own
	}
	r := &Reporter{
		options: o, poked: make(chan struct{}, 1),
		poster: newPoster(o.Addresses, o.Identity.Token, o.Transport, o.Tried),
		base:   baseline{tally: o.Tally, generation: o.Generation},
	}
	return r, nil
}

// Poke reports the state at once, because it has changed in a way that cannot wait.
func (r *Reporter) Poke() {
	select {
	case r.poked <- struct{}{}:
	default:
	}
}

// Said returns what the last acknowledged report said; nil if there was none.
func (r *Reporter) Said() *Said { return r.said.Load() }

// Dropped returns how many ended requests were never named because too many waited.
func (r *Reporter) Dropped() uint64 {
	n := r.batch.dropped.Load()
	if ring := r.options.Tally.ended; ring != nil {
		n += ring.dropped.Load()
	}
	return n
}

// A lane is the schedule of reports of one kind.
type lane struct {
	next    time.Time // not before
	backoff time.Duration
}

// failed makes the lane wait, longer each time.
func (l *lane) failed() {
	// Decorrelated jitter: each pause is drawn between the minimum and three times
	// the previous one, or the maximum, so that a fleet does not retry in step.
	longest := min(mostBackoff, max(3*l.backoff, 2*leastBackoff))
	l.backoff = leastBackoff + rand.N(longest-leastBackoff)
	l.next = time.Now().Add(l.backoff)
}

// Run sends reports until ctx ends. Then it tries once more to send what is left,
// and returns nil after three seconds at the latest.
func (r *Reporter) Run(ctx context.Context) error {
	defer r.close()
	// A report under way when ctx ends gets a second to be acknowledged. Aborting
	// it and sending it again would count it twice.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var over atomic.Pointer[time.Time]
	defer context.AfterFunc(ctx, func() {
		end := time.Now().Add(lastTries)
		over.Store(&end)
		time.AfterFunc(lastTries/3, cancel)
	})()

	r.last.at = time.Now()
	r.last.disk, _ = r.options.DiskUsed()
	urgent := true
	for ctx.Err() == nil {
		now := time.Now()
		if urgent || !now.Before(r.status.next) && r.due(now) {
			r.reportStatus(sending, now)
		}
		if !now.Before(r.ended.next) {
			r.reportEnded(sending)
		}
		urgent = r.pause(ctx)
	}
	end := time.Now().Add(lastTries)
	if at := over.Load(); at != nil {
		end = *at
	}
	r.lastTry(ctx, end)
	return nil
}

// pause waits for the next check and reports whether Poke cut it short.
func (r *Reporter) pause(ctx context.Context) (poked bool) {
	wait := busyInterval
	for _, l := range []lane{r.status, r.ended} {
		if until := time.Until(l.next); until > 0 {
			wait = min(wait, until)
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-r.poked:
		return true
	}
	return false
}

// due reports whether something has changed, or the last report was long ago.
func (r *Reporter) due(now time.Time) bool {
	silent := now.Sub(r.last.at)
	if silent >= idleInterval {
		return true
	}
	state := r.options.State(now)
	changed := state != r.last.state || r.options.Tally.counts() != r.base.counts
	return changed && state.LoadTime > 0 && silent >= busyInterval
}

// lastTry sends what is left, once, with half the time for each kind.
func (r *Reporter) lastTry(ctx context.Context, end time.Time) {
	ctx = context.WithoutCancel(ctx)
	now := time.Now()
	half, cancel := context.WithDeadline(ctx, now.Add(end.Sub(now)/2))
	r.reportStatus(half, now)
	cancel()
	whole, cancel := context.WithDeadline(ctx, end)
	r.reportEnded(whole)
	cancel()
}

// reportStatus sends one worker_status.
func (r *Reporter) reportStatus(ctx context.Context, now time.Time) {
	s := statusReport{at: now, counts: r.options.Tally.counts(), state: r.options.State(now)}
	s.delta = r.base.since(s.counts)
	if named := r.options.Tally.named; named != nil {
		s.indexes = named.indexes(nil)
	}
	disk, measured := r.options.DiskUsed()
	if measured {
		s.disk = (float64(disk) - float64(r.last.disk)) / (1 << 30)
	}
	if !r.sendStatus(ctx, &s) {
		r.status.failed()
		return
	}
	r.status = lane{}
	r.base.acknowledge(s.counts, s.delta)
	r.last.at, r.last.state = now, s.state
	r.last.loaded = s.state.LoadTime > 0
	if measured {
		r.last.disk = disk
	}
	r.said.Store(&Said{
		At: now, Load: workload(s.counts.load), Taken: workload(s.delta.taken),
		Working: s.counts.working, State: s.state,
	})
}

// sendStatus sends a status and reports whether an address accepted it.
func (r *Reporter) sendStatus(ctx context.Context, s *statusReport) bool {
	who := r.options.Identity
	if r.options.Generation == Generation2024 {
		body, err := encode2024(who, s, s.at.Sub(r.last.at), !r.last.loaded)
		return err == nil && r.poster.all(ctx, KindStatus, body)
	}
	body, err := encode2026(who, s)
	return err == nil && r.poster.first(ctx, KindStatus, body)
}

// reportEnded names the requests that have ended. If they do not fit into one report,
// the next one follows immediately.
func (r *Reporter) reportEnded(ctx context.Context) {
	if r.options.Generation != Generation2026 {
		return
	}
	for full := true; full; {
		r.batch.fill(r.options.Tally)
		if len(r.batch.entries) == 0 {
			return
		}
		full = len(r.batch.entries) == maxBatch
		body, err := encodeEnded(r.options.Identity, r.batch.entries)
		if err != nil || !r.poster.first(ctx, KindEnded, body) {
			r.batch.failed(r.options.Tally)
			r.ended.failed()
			return
		}
		r.batch.acknowledge(r.options.Tally)
		r.ended = lane{}
	}
}

// close closes the connections.
func (r *Reporter) close() {
	if own, ok := r.options.Transport.(*http.Transport); ok {
		own.CloseIdleConnections()
	}
}
