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
	// beat is how often the strip moves on an open page; everything else is told
	// once in beatsPerNews of them.
	beat         = 250 * time.Millisecond
	beatsPerNews = 4
	beatsPerStep = int(HistoryStep / beat)

	// MaxPages is how many pages may be open at once.
	MaxPages = 32
	// pageBacklog is how many events a page may lag behind before it is closed;
	// it then connects again and starts afresh.
	pageBacklog = 16
	// pageWriteTimeout bounds one write to a page.
	pageWriteTimeout = 10 * time.Second
)

// A Source is the sidecar, as far as Pages ask it. Its functions must not block
// and may be called at any time.
type Source struct {
	State  func(*Snapshot) // fills in all but what Recorder.Complete does
	Load   func() (l Load, expected int64)
	Sample func(*Sample)
}

// Pages samples the Recorder and keeps the open pages informed. What they are
// told is made once for all of them, and not at all while none is open. Make it
// with NewPages and run Run; it is safe for concurrent use.
type Pages struct {
	recorder *Recorder
	source   Source
	sample   Sample // of Run alone

	mu     sync.Mutex
	open   map[*page]struct{}
	closed bool
	done   chan struct{} // closed by Close
}

// A page is one open stream of events.
type page struct {
	events chan []byte // closed, under the mutex, when the page lags behind
}

// NewPages makes Pages that show r and what source tells. It starts nothing.
func NewPages(r *Recorder, source Source) *Pages {
	return &Pages{recorder: r, source: source, open: make(map[*page]struct{}), done: make(chan struct{})}
}

// Run samples and informs until ctx ends, and returns its error.
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

// Snapshot is the state of everything, now.
func (p *Pages) Snapshot() Snapshot {
	s := Snapshot{At: time.Now()}
	p.source.State(&s)
	p.recorder.Complete(&s)
	return s
}

// A newsline remembers what the pages know.
type newsline struct {
	at    int64  // the last point of history told
	seq   uint64 // the last refusal told
	shown Picture
	load  Load
}

// next leaves out of s what was told.
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

// A moved is what changes from beat to beat.
type moved struct {
	Strip    Picture `json:"strip"`
	Load     Load    `json:"load"`
	Expected int64   `json:"expected"`
}

// strip tells what moved, and whether anything did.
func (n *newsline) strip(p *Pages) (moved, bool) {
	load, expected := p.source.Load()
	m := moved{p.recorder.Strip.Picture(expected), load, expected}
	changed := m.Strip != n.shown || m.Load != n.load
	n.shown, n.load = m.Strip, m.Load
	return m, changed
}

// event writes one server-sent event (HTML Living Standard, section 9.2).
func event(name string, data any) []byte {
	body, err := json.Marshal(data)
	if err != nil {
		return nil // cannot be: no type here has a marshaller that fails, or a figure that is not one
	}
	return append(append([]byte("event: "+name+"\ndata: "), body...), "\n\n"...)
}

func (p *Pages) none() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// tell hands an event to every page; one that lags behind is closed.
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

// Close ends all streams and refuses new ones: an open page holds up nobody. It
// does not wait for them.
func (p *Pages) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
}

var errPages = errors.New("no room for one more page")

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

// serveEvents streams to one page: the whole first, then the news. It joins
// before it takes the whole, so that a page may hear something twice, but never
// misses any.
func (p *Pages) serveEvents(w http.ResponseWriter, r *http.Request) {
	one, err := p.join()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Too many pages are open, or Usher is leaving.", http.StatusServiceUnavailable)
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
