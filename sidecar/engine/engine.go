// Package engine asks the model server how busy it is. It reads the server's figures
// after each health probe, never on the data path, and derives from them how many
// orphans there are (requests that the server has although no client of Usher is
// waiting for them) and how many requests the server can run at once.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/config/preset"
)

const (
	// maxProperties is how many bytes of a server's properties are read.
	maxProperties = 1 << 20
	// looks is how many times the figures are read if some requests seem to wait, and
	// breath the time in between: a request that came between two of the server's
	// steps counts as waiting, but is not a queue. The lowest reading is used.
	looks  = 3
	breath = 100 * time.Millisecond
	// patienceForFigures is how many readings in a row must fail, with the server
	// healthy, before it is assumed to have no figures.
	patienceForFigures = 3
)

// Options shape a Watcher.
type Options struct {
	Preset                             *preset.Preset // one for which Tells is true
	Network, Address, Host, PathPrefix string         // of the model server, as in upstream.Options
	Authorization                      string         // value of the header field; "": none
	Timeout                            time.Duration  // of one reading, above 0

	// Traffic returns what Usher has at the server now. It must not block.
	Traffic func() Traffic
	// Resize sets the number of slots; nil: the number is fixed.
	Resize func(slots int)
	// Again asks for another probe soon; may be nil.
	Again func()
	// Report is called on changes: a non-nil err says why the figures can no longer be
	// read, a nil err with text "" that they can be read again, and text why the
	// number of slots changed. It must not block; may be nil.
	Report func(text string, err error)
}

// A Traffic is what Usher has at the model server and in its own queue.
type Traffic struct {
	Load
	Runs      int  // how many requests those in flight are to the server: one that asks for three completions is three
	Uncertain bool // there may be more than Runs, or other requests of Usher's own
}

// A State is what is known about the server. The zero value means nothing.
type State struct {
	Known   bool // the figures could be read at the last probe
	Figures Figures
	Orphans int    // requests it has had for over ten seconds beyond those that were sent
	Fault   string // why the figures cannot be read; "": they can, or there are none
	Slots   string // the reason for the current number of slots; "": it is fixed
}

// A Watcher reads figures. Make it with New, call Probed after each health probe and
// call Run. It is safe for concurrent use.
type Watcher struct {
	o       Options
	client  http.Client
	started time.Time
	probed  chan bool // of capacity 1
	state   atomic.Pointer[State]

	// Used by Run only.
	slots   slots
	orphans orphans
	well    bool // the server was healthy at the last probe
	asked   bool // it has stated its slots since it became healthy
	news    []news
	readings
}

// readings are how reading the figures has gone.
type readings struct {
	failures int  // in a row
	ever     bool // one has succeeded
	fault    error
}

// news is something for publish to pass to Options.Report.
type news struct {
	slots string
	err   error
}

// New makes a Watcher. It sends nothing yet.
func New(o Options) (*Watcher, error) {
	if o.Preset == nil || !o.Preset.Tells() || o.Timeout <= 0 || o.Traffic == nil {
		return nil, errors.New("engine: a Preset that tells something, Timeout and Traffic are required")
	}
	dialer := net.Dialer{Timeout: o.Timeout} // the transport continues a dial after its request was cancelled
	w := &Watcher{o: o, started: time.Now(), probed: make(chan bool, 1), slots: newSlots()}
	w.client = http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, o.Network, o.Address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	w.publish(State{})
	return w, nil
}

// Probed reports the result of a health probe. It does not block; probes that end
// during a reading may be ignored.
func (w *Watcher) Probed(healthy bool) {
	select {
	case w.probed <- healthy:
	default:
	}
}

// State returns what was known at the last probe.
func (w *Watcher) State() State { return *w.state.Load() }

// Run reads figures until ctx ends, and returns ctx's error.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case healthy := <-w.probed:
			w.look(ctx, healthy)
		}
	}
}

// look reads everything once, after a probe.
func (w *Watcher) look(ctx context.Context, healthy bool) {
	if healthy && !w.well {
		w.asked, w.failures = false, 0
		w.slots.renew()
	}
	if w.well = healthy; !healthy {
		w.orphans.forget()
		w.publish(State{Fault: "the model server is not healthy"})
		return
	}
	if w.o.Preset.Slots != "" && !w.asked {
		w.askSlots(ctx)
	}
	if !w.o.Preset.Figures.Has() {
		w.publish(State{})
		return
	}
	before := w.o.Traffic()
	f, err := w.least(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.failed(err)
		return
	}
	after := w.o.Traffic()
	w.ever, w.failures = true, 0
	if w.fault != nil {
		w.fault = nil
		w.report("", nil)
	}
	now := time.Since(w.started)
	sent := max(before.Runs, after.Runs)
	if before.Uncertain || after.Uncertain {
		sent = max(sent, f.Held())
	}
	w.orphans.note(f.Held()-sent, now)
	w.follow(look{Figures: f, Load: after.Load, at: now})
	w.publish(State{Known: true, Figures: f, Orphans: w.orphans.count()})
}

// follow adapts the slots to the server.
func (w *Watcher) follow(l look) {
	if w.o.Resize == nil {
		return
	}
	if w.slots.step(l) {
		w.resize()
	}
	if w.slots.seeking(l) && w.o.Again != nil {
		w.o.Again()
	}
}

func (w *Watcher) resize() {
	w.o.Resize(w.slots.n)
	w.report(w.slots.reason, nil)
}

// failed records that the figures could not be read.
func (w *Watcher) failed(err error) {
	w.orphans.forget()
	w.failures++
	if w.fault == nil {
		w.fault = err
		w.report("", err)
	}
	if !w.ever && w.failures == patienceForFigures && w.o.Resize != nil && w.slots.unknown(err.Error()) {
		w.resize()
	}
	w.publish(State{Fault: err.Error()})
}

// report says what has changed, once the State shows it.
func (w *Watcher) report(slots string, err error) { w.news = append(w.news, news{slots, err}) }

// publish shows a new State, and reports what has changed.
func (w *Watcher) publish(s State) {
	if w.o.Resize != nil {
		s.Slots = w.slots.reason
	}
	w.state.Store(&s)
	if w.o.Report != nil {
		for _, n := range w.news {
			w.o.Report(n.slots, n.err)
		}
	}
	w.news = w.news[:0]
}

// askSlots reads how many requests the server runs at once, according to itself.
func (w *Watcher) askSlots(ctx context.Context) {
	var properties struct {
		TotalSlots int `json:"total_slots"`
	}
	err := w.get(ctx, w.o.Preset.Slots, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxProperties)).Decode(&properties)
	})
	if err != nil || properties.TotalSlots < 1 {
		return
	}
	w.asked = true
	if w.slots.state(properties.TotalSlots) && w.o.Resize != nil {
		w.resize()
	}
}

// least reads the figures, several times if some requests seem to wait, and returns
// the reading with the fewest waiting.
func (w *Watcher) least(ctx context.Context) (least Figures, err error) {
	for i := range looks {
		var f Figures
		err := w.get(ctx, w.o.Preset.Figures.Path, func(body io.Reader) (err error) {
			f, err = parse(body, w.o.Preset.Figures)
			return err
		})
		if err != nil {
			return f, err
		}
		if i == 0 || f.Waiting < least.Waiting {
			least = f
		}
		if least.Waiting == 0 || i == looks-1 {
			break
		}
		select {
		case <-time.After(breath):
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
	return least, nil
}

// get fetches a path and passes its body to read.
func (w *Watcher) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.o.Host+w.o.PathPrefix+path, nil)
	if err != nil {
		return err
	}
	if w.o.Authorization != "" {
		req.Header.Set("Authorization", w.o.Authorization)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", path, resp.StatusCode)
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
