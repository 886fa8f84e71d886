package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// beat is how often the strip moves on an open page; everything else is sent once
	// in beatsPerNews beats.
	beat         = 250 * time.Millisecond
	beatsPerNews = 4
	beatsPerStep = int(HistoryStep / beat)

	// MaxPages is how many pages may be open at once.
	MaxPages = 32
	// pageBacklog is how many events a page may lag behind before it is disconnected;
	// it then reconnects and starts over.
	pageBacklog = 16
	// pageWriteTimeout bounds one write to a page.
	pageWriteTimeout = 10 * time.Second
)

// A Source is what Pages ask the sidecar. Its functions must not block, and may be
// called at any time.
type Source struct {
	State  func(*Snapshot) // fills in everything that Recorder.Complete does not
	Load   func() (l Load, expected int64)
	Sample func(*Sample)
}

// Pages samples the Recorder and sends updates to the open pages. An update is built
// once for all of them, and not at all while none is open. Make it with NewPages and
// call Run; it is safe for concurrent use.
type Pages struct {
	recorder *Recorder
	source   Source
	sample   Sample // used by Run only

	mu     sync.Mutex
	open   map[*page]struct{}
	closed bool
	done   chan struct{} // closed by Close
}

// A page is one open stream of events.
type page struct {
	events chan []byte // closed, under the mutex, if the page lags behind
}

// NewPages makes Pages that show what r and source know. It starts nothing.
func NewPages(r *Recorder, source Source) *Pages {
	return &Pages{recorder: r, source: source, open: make(map[*page]struct{}), done: make(chan struct{})}
}

// Run samples and sends updates until ctx ends, and returns ctx's error.
func (p *Pages) Run(ctx context.Context) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var news newsline
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			if n%beatsPerStep == 0 {
				p.source.Sample(&p.sample)
				p.recorder.Sample(now, p.sample)
			}
			switch {
			case p.none():
			case n%beatsPerNews == 0:
				p.tell(event("news", news.next(p.Snapshot())))
			default:
				if strip, moved := news.strip(p); moved {
					p.tell(event("strip", strip))
				}
			}
		}
	}
}

// Snapshot returns the current state of everything.
func (p *Pages) Snapshot() Snapshot {
	s := Snapshot{At: time.Now()}
	p.source.State(&s)
	p.recorder.Complete(&s)
	return s
}

// A newsline remembers what the pages have been sent.
type newsline struct {
	at    int64  // the last point of history
	seq   uint64 // the last refusal
	shown Picture
	load  Load
}

// next removes from s what was already sent.
func (n *newsline) next(s Snapshot) Snapshot {
	s = s.news(n.at, n.seq)
	if len(s.History) > 0 {
		n.at = s.History[len(s.History)-1].At
	}
	if len(s.Refusals) > 0 {
		n.seq = s.Refusals[0].Seq
	}
	n.shown, n.load = s.Strip, s.Load
	return s
}

// moved is what changes from beat to beat.
type moved struct {
	Strip    Picture `json:"strip"`
	Load     Load    `json:"load"`
	Expected int64   `json:"expected"`
}

// strip returns what moved, and whether anything did.
func (n *newsline) strip(p *Pages) (moved, bool) {
	load, expected := p.source.Load()
	m := moved{p.recorder.Strip.Picture(expected), load, expected}
	changed := m.Strip != n.shown || m.Load != n.load
	n.shown, n.load = m.Strip, m.Load
	return m, changed
}

// event returns one server-sent event (HTML Living Standard, section 9.2).
func event(name string, data any) []byte {
	body, err := json.Marshal(data)
	if err != nil {
		return nil // not reached: no type here has a marshaller that fails, or holds NaN
	}
	return append(append([]byte("event: "+name+"\ndata: "), body...), "\n\n"...)
}

func (p *Pages) none() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// tell passes an event to every page, and disconnects those that lag behind.
func (p *Pages) tell(event []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one := range p.open {
		select {
		case one.events <- event:
		default:
			delete(p.open, one)
			close(one.events)
		}
	}
}

// Close ends all streams, without waiting for that, and refuses new ones, so that an
// open page does not delay a shutdown.
func (p *Pages) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
}

var errPages = errors.New("too many pages are open")

func (p *Pages) join() (*page, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.open) >= MaxPages {
		return nil, errPages
	}
	one := &page{events: make(chan []byte, pageBacklog)}
	p.open[one] = struct{}{}
	return one, nil
}

func (p *Pages) leave(one *page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, one)
}

// serveEvents streams to one page: everything first, then what is new. It joins
// before it takes the snapshot, so that a page may be sent something twice, but never
// misses anything.
func (p *Pages) serveEvents(w http.ResponseWriter, r *http.Request) {
	one, err := p.join()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Too many status pages are open, or Usher is shutting down.", http.StatusServiceUnavailable)
		return
	}
	defer p.leave(one)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	send := func(b []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(pageWriteTimeout))
		_, err := w.Write(b)
		return err == nil && control.Flush() == nil
	}
	if !send(append([]byte("retry: 2000\n"), event("all", p.Snapshot())...)) {
		return
	}
	for {
		select {
		case b, ok := <-one.events:
			if !ok || !send(b) {
				return
			}
		case <-p.done:
			send([]byte("event: end\ndata: {}\n\n"))
			return
		case <-r.Context().Done():
			return
		}
	}
}
