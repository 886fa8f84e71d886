// Package replay lets every number through once. A window below the highest number
// records exactly which numbers are taken, as IPsec's anti-replay window does (RFC
// 4303 section 3.4.3, RFC 6479), except that a number is given back if its request
// was not sent after all. With a state file the window survives a restart, even
// after a SIGKILL.
package replay

import (
	"errors"
	"fmt"
	"sync"
)

// Errors of this package. Those of Open name the file.
var (
	// ErrReplayed: the number is spent or reserved.
	ErrReplayed = errors.New("number was used already")
	// ErrStale: the number is below the window.
	ErrStale = errors.New("number is below the window")
	// ErrUnknownKey: the key has no window, because it was rotated out.
	ErrUnknownKey = errors.New("key has no window")
	// ErrDamaged: the file is not a state file, or something else changed it.
	ErrDamaged = errors.New("state file is damaged")
	// ErrForeign: the state file belongs to another worker.
	ErrForeign = errors.New("state file was made for another worker")
	// ErrLocked: another process uses the state file.
	ErrLocked = errors.New("state file is in use")
)

// MaxWindow is the largest Config.Window, in numbers.
const MaxWindow = 1 << 24

// MaxKeys is the largest Config.Keys.
const MaxKeys = 64

// A Fingerprint identifies a key; it is a SHA-256 digest.
type Fingerprint = [32]byte

// An Identity says which worker a state file belongs to. A file is accepted only
// under the identity that it was made with.
type Identity struct {
	Endpoints  []string
	WorkerURLs []string // none: any
}

// A Config shapes a Ledger.
type Config struct {
	Window     int    // size in numbers, 1 … MaxWindow
	Keys       int    // how many keys have a window at once, at most MaxKeys; below 2 counts as 2
	ResetAfter int    // see Reserve; 0: never
	Path       string // of the state file; "": memory only
	Identity   Identity

	// Report is called by Run, once for each change in the state file's health.
	// fault says what happened to the file, unmade why it could not be recreated
	// (nil if it was). Both are nil once the file is in order again by itself.
	// Both name the file. May be nil.
	Report func(fault, unmade error)
}

// A Ledger holds one window for each of a few keys: those in force, and previous
// ones whose tickets are still accepted for a while. Make it with Open; it is safe
// for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	cfg     Config
	image   image // the memory of the windows, copied to the state file
	file    *file // nil: memory only
	windows windows
	resets  uint64
	faults  uint64 // of the state file, so far
	fault   string // what is wrong with the state file now; "": nothing
}

// Open makes a ledger, from its state file if one exists. Errors: ErrDamaged,
// ErrForeign, ErrLocked, or one from the system; each names the file.
func Open(cfg Config) (*Ledger, error) {
	cfg.Keys = max(cfg.Keys, 2)
	if cfg.Window < 1 || cfg.Window > MaxWindow || cfg.Keys > MaxKeys || cfg.ResetAfter < 0 {
		return nil, fmt.Errorf("replay: a window of %d numbers for %d keys, reset after %d", cfg.Window, cfg.Keys, cfg.ResetAfter)
	}
	l := &Ledger{cfg: cfg}
	if cfg.Path == "" {
		l.windows.list = make([]*window, cfg.Keys)
		return l, nil
	}
	blocks := ringBlocks(cfg.Window)
	var err error
	if l.file, l.image, err = openFile(cfg, blocks); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	at := l.image.current(blocks)
	l.windows = windows{list: make([]*window, l.image.slots(blocks)), current: at, latest: at}
	for i := range l.windows.list {
		w := mapWindow(cfg, l.image.slot(i, blocks))
		w.file, w.at = l.file, slotAt(i, blocks)
		if err := w.load(); err != nil {
			_ = l.file.close()
			return nil, fmt.Errorf("%s: %w", cfg.Path, err)
		}
		l.windows.list[i] = w
	}
	return l, nil
}

// Close writes the state file to disk and closes it. Call it after Run has
// returned. Reservations that are still open continue in memory only.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file
	l.keepIn(nil)
	return f.close()
}

// keepIn has every change from now on copied to f; l.mu must be held.
func (l *Ledger) keepIn(f *file) {
	l.file = f
	for _, w := range l.windows.list {
		if w != nil {
			w.file = f
		}
	}
}

// Check returns an error if n would be refused under every one of the keys. It
// changes nothing, and is for use before the signature has shown which key it is.
// With Config.ResetAfter, no number counts as stale here: it may be the one that
// resets the window, but only if it is genuine. Errors: ErrReplayed, ErrStale.
func (l *Ledger) Check(n int64, keys ...Fingerprint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var verdict error
	for _, key := range keys {
		w := l.windows.find(key)
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

// Reserve takes n, which has been verified with key: from now on a copy of it is
// refused. It moves the window up to n. The reservation must be committed, when the
// number is spent, or released. With Config.ResetAfter = k, a run of k distinct
// rising numbers below the window, with none above the window in between, means
// that numbering has restarted: the k-th starts a new window. Errors: ErrReplayed,
// ErrStale, ErrUnknownKey.
func (l *Ledger) Reserve(key Fingerprint, n int64) (Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.windows.indexOf(key)
	if at < 0 {
		return Reservation{}, ErrUnknownKey
	}
	w := l.windows.list[at]
	err := w.check(uint64(n))
	fresh, reset := w.empty(), false
	if errors.Is(err, ErrStale) && w.below.restart(uint64(n), l.cfg.ResetAfter) {
		w = l.windows.renew(at, key, l.cfg)
		l.resets++
		err, fresh, reset = nil, true, true
	}
	if err != nil {
		return Reservation{}, err
	}
	if w.empty() || uint64(n) > w.highest() {
		w.below.run = 0 // numbering continues above the window
	}
	w.advance(uint64(n))
	w.reserve(uint64(n))
	l.windows.latest = at
	return Reservation{ledger: l, window: w, place: at, number: uint64(n), fresh: fresh, reset: reset}, nil
}

// A Reservation is a number that is taken but not yet spent. The first call of
// Commit or Release decides; later ones do nothing. It is for one goroutine at a
// time. All methods of the zero value do nothing.
type Reservation struct {
	ledger *Ledger
	window *window
	place  int // of the window in the ledger
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

// Commit spends the number. When it returns, the state file records that, unless
// the file is faulty (see Run).
func (r *Reservation) Commit() {
	r.spent = r.spent || !r.done && r.ledger != nil
	r.settle((*window).spend)
}

// Release gives the number back.
func (r *Reservation) Release() { r.settle((*window).release) }

// Undo takes a Commit back, if nothing was sent after all: the number becomes free,
// as if it had been released. Without a Commit it does nothing. If the process is
// killed between Commit and Undo, the number stays spent.
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
	// A window that was renewed in the meantime is no longer in the ledger, and its
	// memory may belong to its successor.
	if w := r.window; w == r.ledger.windows.list[r.place] {
		how(w, r.number)
	}
}

// Stats describes a ledger.
type Stats struct {
	Highest int64  // highest number of the window that last took one, else of the current key's; -1: none yet
	Resets  uint64 // windows started because of Config.ResetAfter

	FileFaults uint64 // faults of the state file found while in use, including failed attempts to recreate it
	FileFault  string // what is wrong with it now; "": nothing, or there is no file
}

// Stats returns a consistent snapshot.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Highest: -1, Resets: l.resets, FileFaults: l.faults, FileFault: l.fault}
	if w := l.windows.list[l.windows.latest]; w.valid() && !w.empty() {
		s.Highest = int64(w.highest())
	}
	return s
}
