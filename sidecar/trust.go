package sidecar

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/gate"
)

// A trust is what tickets are verified with: the public keys, and the numbers that were
// seen before. It logs what happens to them, and keeps the latest for the status page.
type trust struct {
	log       *zap.Logger
	keys      *crypto.KeySet
	refresher *crypto.Refresher
	keyFault  atomic.Pointer[string] // why the last try to read the key failed; nil: it did not
	ledger    *replay.Ledger
	fileNote  atomic.Pointer[string] // the last thing that happened to the state file while in use; nil: nothing did
}

// openLedger opens the state file.
func (t *trust) openLedger(cfg *config.Config) (err error) {
	t.ledger, err = replay.Open(replay.Config{
		Window: cfg.ReplayWindow, Keys: crypto.MaxAccepted, ResetAfter: cfg.ReqnumResetAfter, Path: cfg.StateFile,
		Identity: replay.Identity{Endpoints: cfg.Endpoints, WorkerURLs: cfg.WorkerURLs},
		Report:   t.noteFile,
	})
	if err != nil {
		return fmt.Errorf("USHER_STATE_FILE: %w", err)
	}
	return nil
}

// noteFile is called by the ledger when something happens to its file.
func (t *trust) noteFile(fault, unmade error) {
	note := func(format string, args ...any) {
		text := fmt.Sprintf("USHER_STATE_FILE: "+format, args...)
		t.fileNote.Store(&text)
	}
	at := time.Now().Format(time.RFC3339)
	switch {
	case fault == nil:
		note("it is in order again since %s", at)
		t.log.Info("state file is in order again")
	case unmade == nil:
		note("%s: %v; it was recreated", at, fault)
		t.log.Error("state file was damaged while in use; it was recreated from the window in memory", zap.Error(fault))
	default:
		note("%s: %v; it cannot be recreated: %v. A restart would let used tickets pass", at, fault, unmade)
		t.log.Error("state file was damaged while in use and cannot be recreated; a restart would let used tickets pass",
			zap.Error(fault), zap.String("unmade", unmade.Error()))
	}
}

// KeySource returns the source of the key that the settings name.
func KeySource(cfg *config.Config) crypto.Source {
	switch {
	case cfg.PublicKey != "":
		return crypto.Inline([]byte(cfg.PublicKey))
	case cfg.PublicKeyFile != "":
		return crypto.File(cfg.PublicKeyFile)
	default:
		return crypto.URLs(cfg.PublicKeyURLs, cfg.PublicKeyPin, nil)
	}
}

// openKey makes the refresher, which installs keys at the gate, and reads the key once
// if that needs no network. A key from a URL is fetched when Run starts. failed is
// called for each failed attempt.
func (t *trust) openKey(cfg *config.Config, g *gate.Gate, failed func()) (err error) {
	t.refresher, err = crypto.NewRefresher(crypto.RefresherConfig{
		Source: KeySource(cfg), Pin: cfg.PublicKeyPin, Interval: cfg.PublicKeyRefresh,
		Install: func(keys []*crypto.Key) {
			came, left := g.Install(keys)
			for _, k := range came {
				t.log.Info("public key in force", zap.String("algorithm", k.Algorithm()), zap.String("fingerprint", k.Fingerprint().String()))
			}
			for _, k := range left {
				t.log.Info("public key removed from its source", zap.String("fingerprint", k.Fingerprint().String()), zap.Duration("accepted_for", cfg.PublicKeyGrace))
			}
		},
		Report: func(err error) {
			t.keyFault.Store(nil)
			if err != nil {
				text := err.Error()
				t.keyFault.Store(&text)
				failed()
				if t.keyed() {
					t.log.Warn("public key not refreshed; the last good one stays in force", zap.Error(err))
				} else {
					t.log.Warn("public key not refreshed; there is none yet, so no ticket is accepted", zap.Error(err))
				}
			}
		},
	})
	if err != nil || len(cfg.PublicKeyURLs) > 0 {
		return err
	}
	return t.refresher.Load(context.Background())
}

// keyed reports whether there is a key to verify tickets with.
func (t *trust) keyed() bool { return len(t.keys.Accepted(time.Now())) > 0 }

// fault says why the key could not be read at the last try; "": it could.
func (t *trust) fault() string {
	if fault := t.keyFault.Load(); fault != nil {
		return *fault
	}
	return ""
}

// stale is called when all numbers are below the replay window.
func (t *trust) stale() {
	t.log.Warn("every number is below the replay window: the autoscaler seems to have restarted its numbering. "+
		"Restart this worker with a new state file, or set USHER_REQNUM_RESET_AFTER", zap.Int("in_a_row", gate.StaleAlarm))
}

// restarted is called when the autoscaler is taken to have restarted its numbering.
func (t *trust) restarted(reqnum int64) {
	t.log.Warn("request numbers restarted: a new replay window began", zap.Int64("reqnum", reqnum))
}

// warnings returns what the status page warns about.
func (t *trust) warnings() (list []string) {
	if note := t.fileNote.Load(); note != nil {
		list = append(list, *note)
	}
	return list
}

func (t *trust) close() {
	if t.ledger != nil {
		if err := t.ledger.Close(); err != nil {
			t.log.Error("state file not closed", zap.Error(err))
		}
	}
}
