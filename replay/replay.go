// Package replay lets every number through once. A window over the highest
// number remembers which of those below it are taken, exactly, as IPsec's
// anti-replay window does (RFC 4303 section 3.4.3, RFC 6479); but a number
// taken for a request that was then not sent is given back. With a state file
// the window survives a restart, a SIGKILL included.
package replay

import (
	"errors"
	"fmt"
	"sync"
)

// Errors of this package. Those of Open name the file.
var (
	// ErrReplayed: the number is spent or being served.
	ErrReplayed = errors.New("number was used already")
	// ErrStale: the number is below the window.
	ErrStale = errors.New("number is below the window")
	// ErrUnknownKey: the key has no window; it was rotated away.
	ErrUnknownKey = errors.New("key has no window")
	// ErrDamaged: the state file is not one, or was changed by somebody else.
	ErrDamaged = errors.New("state file is damaged")
	// ErrForeign: the state file is another worker's.
	ErrForeign = errors.New("state file was made for another worker")
	// ErrLocked: another process uses the state file.
	ErrLocked = errors.New("state file is in use")
)

// MaxWindow is the largest window.
const MaxWindow = 1 << 24

// MaxKeys is the largest number of windows.
const MaxKeys = 64

// A Fingerprint identifies a key; it is the SHA-256 of something.
type Fingerprint = [32]byte

// An Identity says whose numbers they are: a state file is good for one.
type Identity struct {
	Endpoints  []string
	WorkerURLs []string // none: any
}

// A Config shapes a Ledger.
type Config struct {
	Window     int    // numbers, 1 … MaxWindow
	Keys       int    // how many keys have a window at once, 2 … MaxKeys; 0: 2
	ResetAfter int    // see Reserve; 0: never
	Path       string // of the state file; "": memory only
	Identity   Identity

	// Report is told by Run what became of the state file: fault says what
	// happened to it, unmade why it could not be made anew (nil: it was). Both
	// are nil once it is in order again by itself. Each names the file. It is
	// told each change once. May be nil.
	Report func(fault, unmade error)
}

// A Ledger holds a window for each of a few keys: those in force, and those
// before them, whose tickets are still good for a while. Make it with Open; it
// is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	cfg     Config
	image   image     // what the windows are in, and the state file has
	file    *file     // nil: memory only
	windows []*window // nil: none was needed yet
	current int       // which of them is the current key's
	latest  int       // which of them last took a number
	resets  uint64
	faults  uint64 // of the state file
	fault   string // of the state file, that lasts; "": none
}

// Open makes a ledger, from its state file if there is one. Errors: ErrDamaged,
// ErrForeign, ErrLocked, or the system's.
func Open(cfg Config) (*Ledger, error) {
	cfg.Keys = max(cfg.Keys, 2)
	if cfg.Window < 1 || cfg.Window > MaxWindow || cfg.Keys > MaxKeys || cfg.ResetAfter < 0 {
		return nil, fmt.Errorf("replay: a window of %d numbers for %d keys, reset after %d", cfg.Window, cfg.Keys, cfg.ResetAfter)
	}
	l := &Ledger{cfg: cfg}
	if cfg.Path == "" {
		l.windows = make([]*window, cfg.Keys)
		return l, nil
	}
	blocks := ringBlocks(cfg.Window)
	var err error
	if l.file, l.image, err = openFile(cfg, blocks); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	l.current = l.image.current(blocks)
	l.latest = l.current
	l.windows = make([]*window, l.image.slots(blocks))
	for i := range l.windows {
		w := mapWindow(cfg, l.image.slot(i, blocks))
		w.file, w.at = l.file, slotAt(i, blocks)
		if err := w.load(); err != nil {
			_ = l.file.close()
			return nil, fmt.Errorf("%s: %w", cfg.Path, err)
		}
		l.windows[i] = w
	}
	return l, nil
}

// Close writes the state file out and gives it up, after Run has ended. What is
// still under way goes on in memory alone.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file
	l.keepIn(nil)
	return f.close()
}

// keepIn has every change copied to f from here on; l.mu is held.
func (l *Ledger) keepIn(f *file) {
	l.file = f
	for _, w := range l.windows {
		if w != nil {
			w.file = f
		}
	}
}

// Check tells, without a change, whether n is refused under every one of the
// keys; it is for the time before the signature has told which key it is. A
// window that may be reset (Config.ResetAfter) finds no number stale here, since
// whether it is genuine has to be known first. Errors: ErrReplayed, ErrStale.
func (l *Ledger) Check(n int64, keys ...Fingerprint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var verdict error
	for _, key := range keys {
		w := l.find(key)
		if w == nil {
			return nil
		}
		err := w.check(uint64(n))
		if err == nil || errors.Is(err, ErrStale) && l.cfg.ResetAfter > 0 {
			return nil
		}
		if verdict == nil || errors.Is(err, ErrReplayed) {
			verdict = err
		}
	}
	return verdict
}

// Reserve takes n, which has been verified with key: from here on its twin is
// refused. It moves the window up to n. The reservation is committed when the
// number is spent, or released. With Config.ResetAfter k, a run of k distinct
// numbers below the window, each above the one before and none above the window
// between them, is taken for numbers that start again: the k-th starts a new
// window. Errors: ErrReplayed, ErrStale, ErrUnknownKey.
func (l *Ledger) Reserve(key Fingerprint, n int64) (Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.indexOf(key)
	if at < 0 {
		return Reservation{}, ErrUnknownKey
	}
	w := l.windows[at]
	err := w.check(uint64(n))
	fresh, reset := w.empty(), false
	if errors.Is(err, ErrStale) && w.restarts(uint64(n), l.cfg.ResetAfter) {
		l.renew(at, key)
		w = l.windows[at]
		l.resets++
		err, fresh, reset = nil, true, true
	}
	if err != nil {
		return Reservation{}, err
	}
	if w.empty() || uint64(n) > w.highest() {
		w.run = 0 // the numbers go on above
	}
	w.advance(uint64(n))
	w.reserve(uint64(n))
	l.latest = at
	return Reservation{ledger: l, window: w, place: at, number: uint64(n), fresh: fresh, reset: reset}, nil
}

// A Reservation is a number that is taken and not spent yet. The first of
// Commit and Release counts, the other does nothing. It is for one goroutine at
// a time; the zero value does nothing.
type Reservation struct {
	ledger *Ledger
	window *window
	place  int // of the window
	number uint64
	fresh  bool
	reset  bool
	done   bool
	spent  bool // by Commit
}

// Fresh reports whether the reservation is the first of a new window.
func (r *Reservation) Fresh() bool { return r.fresh }

// Reset reports whether the new window is due to Config.ResetAfter.
func (r *Reservation) Reset() bool { return r.reset }

// Commit spends the number. When it returns, the state file has it, unless that
// is at fault (see Run).
func (r *Reservation) Commit() {
	r.spent = r.spent || !r.done && r.ledger != nil
	r.settle((*window).spend)
}

// Release gives the number back.
func (r *Reservation) Release() { r.settle((*window).release) }

// Undo takes a Commit back, where it turned out that nothing was sent after
// all: the number is as good as if it had been released. Without a Commit
// before it, it does nothing. A process that is killed between the two leaves
// the number spent.
func (r *Reservation) Undo() {
	if r.spent {
		r.spent, r.done = false, false
		r.settle((*window).unspend)
	}
}

func (r *Reservation) settle(how func(*window, uint64)) {
	if r.done || r.ledger == nil {
		return
	}
	r.done = true
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	// A window that was renewed meanwhile is not in the ledger any more, and
	// its memory may be its successor's.
	if w := r.window; w == r.ledger.windows[r.place] {
		how(w, r.number)
	}
}

// Stats is what a ledger holds.
type Stats struct {
	Highest int64  // of the window that last took a number, or of the current key's; -1: none yet
	Resets  uint64 // windows started by Config.ResetAfter

	FileFaults uint64 // faults of the state file found while in use, failed tries to make it anew included
	FileFault  string // what is wrong with it now; "": nothing, or there is none
}

// Stats describes the ledger.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Highest: -1, Resets: l.resets, FileFaults: l.faults, FileFault: l.fault}
	if w := l.windows[l.latest]; w.valid() && !w.empty() {
		s.Highest = int64(w.highest())
	}
	return s
}
