package crypto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Backoff of failed fetches: exponential, with jitter from half to one and a half times,
// without an end.
const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// ErrPinMismatch is returned for a key that is not the pinned one.
var ErrPinMismatch = errors.New("key is not the pinned one")

// RefresherConfig is the configuration of a Refresher.
type RefresherConfig struct {
	Source   Source
	Pin      *Fingerprint  // nil: none
	Interval time.Duration // of URLs, above 0
	Install  func([]*Key)  // called with every good bundle
	Report   func(error)   // called after a try, with its error; not for a fault of a file that persists
}

// A Refresher reads the keys from their source repeatedly. A bad bundle changes nothing:
// the last good one stays in force. Make it with NewRefresher. Load and Run are for one
// goroutine at a time; Poke is safe for concurrent use.
type Refresher struct {
	cfg  RefresherConfig
	pace pace
	poke chan struct{}

	text []byte // from which keys was parsed
	keys []*Key

	mu   sync.Mutex
	last error // of the last try
}

// NewRefresher checks the configuration. It reads nothing yet.
func NewRefresher(cfg RefresherConfig) (*Refresher, error) {
	if cfg.Source == nil || cfg.Install == nil || cfg.Report == nil || cfg.Interval <= 0 {
		return nil, errors.New("crypto: a refresher needs source, interval, install and report")
	}
	return &Refresher{cfg: cfg, pace: cfg.Source.pace(cfg.Interval), poke: make(chan struct{}, 1)}, nil
}

// Load reads the keys once, now.
func (r *Refresher) Load(ctx context.Context) error {
	text, err := r.cfg.Source.fetch(ctx)
	if err != nil {
		return err
	}
	if r.keys == nil || !bytes.Equal(text, r.text) { // a file is read every second, and rarely changes
		keys, err := ParsePinned(text, r.cfg.Pin)
		if err != nil {
			return err
		}
		r.text, r.keys = text, keys
	}
	r.cfg.Install(r.keys)
	return nil
}

// ParsePinned is ParsePublicKeys for a bundle that must contain the pinned key, if there
// is a pin. It then returns only that key, because nothing vouches for the others.
// Errors: ErrPinMismatch, or those of ParsePublicKeys.
func ParsePinned(text []byte, pin *Fingerprint) ([]*Key, error) {
	keys, err := ParsePublicKeys(text)
	if err != nil || pin == nil {
		return keys, err
	}
	for _, k := range keys {
		if k.fingerprint == *pin {
			return []*Key{k}, nil
		}
	}
	return nil, fmt.Errorf("%w: its SHA-256 is %s", ErrPinMismatch, keys[0].fingerprint)
}

// Poke makes Run read the keys at once.
func (r *Refresher) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// Run reads the keys until ctx ends, and returns ctx's error.
func (r *Refresher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	backoff := firstBackoff
	for {
		poked := false
		select {
		case <-timer.C:
		case <-r.poke:
			poked = true
		case <-ctx.Done():
			return ctx.Err()
		}
		err := r.Load(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.report(err, poked)
		pause := r.pace.every
		if err != nil && r.pace.backoff {
			pause = jitter(backoff)
			backoff = min(2*backoff, maxBackoff)
		} else {
			backoff = firstBackoff
		}
		timer.Stop()
		if pause > 0 {
			timer.Reset(pause)
		}
	}
}

// report reports a try. A file is read every second, so a persistent fault of it is
// reported once.
func (r *Refresher) report(err error, poked bool) {
	r.mu.Lock()
	same := err != nil && r.last != nil && err.Error() == r.last.Error()
	r.last = err
	r.mu.Unlock()
	if same && !r.pace.backoff && !poked {
		return
	}
	r.cfg.Report(err)
}

// jitter spreads the attempts of many workers.
func jitter(d time.Duration) time.Duration {
	return min(d/2+rand.N(d), maxBackoff)
}
