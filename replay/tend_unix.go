//go:build unix

package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tendEvery is the interval between checks of the state file.
const tendEvery = 2 * time.Second

// Run watches the state file until ctx ends. If the file was truncated, removed,
// replaced or changed, or cannot be written, that is reported and the file is
// recreated from the windows in memory. These stay exact whatever happens to the
// file, so the ledger carries on with them: no number passes twice while the
// process lives. Exiting instead would lose what only its memory knows. Until the
// file is recreated, which is tried at once and then every tendEvery, a restart
// would find a damaged file and refuse it, or find none and begin with an empty
// window.
//
// The file is recreated only if no other process has locked the path or the file
// that is there now.
func (l *Ledger) Run(ctx context.Context) {
	if l.cfg.Path == "" {
		return
	}
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	t := tender{Ledger: l}
	for {
		select {
		case <-ctx.Done():
			t.tend()
			return
		case <-ticker.C:
		case <-l.file.wake:
		}
		t.tend()
	}
}

// A tender keeps the state file of a ledger in order.
type tender struct {
	*Ledger
	told string // the fault that was last reported and has not been repaired; "": none
}

// tend checks the file once and recreates it if necessary.
func (t *tender) tend() {
	fault := t.look()
	var unmade error
	lasts := ""
	if fault != nil {
		fault = fmt.Errorf("%s: %w", t.cfg.Path, fault)
		if unmade = t.remake(); unmade != nil {
			unmade = fmt.Errorf("%s: %w", t.cfg.Path, withoutPath(unmade))
			lasts = fault.Error() + "; it cannot be recreated: " + unmade.Error()
		}
	}
	t.mu.Lock()
	if fault != nil {
		t.faults++
	}
	t.fault = lasts
	t.mu.Unlock()
	if report := t.cfg.Report; report != nil && (lasts != t.told || fault != nil && unmade == nil) {
		report(fault, unmade)
	}
	t.told = lasts
}

// look returns what is wrong with the state file, or nil.
func (t *tender) look() error {
	f := t.file
	_ = t.relock() // if another process was quicker, the file's own lock keeps it out
	there, err := os.Stat(t.cfg.Path)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("state file was removed while in use")
	}
	if err != nil {
		return fmt.Errorf("state file can no longer be found: %w", withoutPath(err))
	}
	own, err := f.f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("state file can no longer be read: %w", withoutPath(err))
	case !os.SameFile(own, there):
		return errors.New("state file was replaced by another while in use")
	case own.Size() > int64(len(f.data)):
		return fmt.Errorf("state file was extended while in use: it has %d bytes instead of %d", own.Size(), len(f.data))
	case own.Size() < int64(len(f.data)):
		return fmt.Errorf("state file was truncated while in use: it has %d bytes instead of %d", own.Size(), len(f.data))
	}
	t.mu.Lock()
	fault := f.fault
	t.mu.Unlock()
	if fault != nil {
		return fmt.Errorf("state file cannot be written: %w", fault)
	}
	return t.compare()
}

// compare checks that the file equals memory, page by page. It reads the file
// instead of the mapping: a read returns an error where the mapping would fault.
func (t *tender) compare() error {
	f, page := t.file, make([]byte, pageSize)
	for at := 0; at < len(f.data); at += pageSize {
		same, err := t.same(page, at, false)
		if err == nil && !same {
			same, err = t.same(page, at, true) // perhaps the ledger changed it in between
		}
		if err != nil {
			return fmt.Errorf("state file can no longer be read: %w", withoutPath(err))
		}
		if !same {
			return errors.New("state file was changed by another program while in use")
		}
	}
	return nil
}

// same compares one page. With held, the ledger is locked during the read, so that
// it cannot change the page in between.
func (t *tender) same(page []byte, at int, held bool) (bool, error) {
	if held {
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	if _, err := t.file.f.ReadAt(page, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !held {
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	return bytes.Equal(page, t.image.bytes()[at:at+pageSize]), nil
}

// relock locks the path again if the lock file is gone.
func (t *tender) relock() error {
	if lock := t.file.lock; lock != nil && isAt(lock, lock.Name()) {
		return nil
	}
	lock, err := lockPath(t.cfg.Path)
	if err != nil {
		return err
	}
	if t.file.lock != nil {
		_ = t.file.lock.Close()
	}
	t.file.lock = lock
	return nil
}

// remake recreates the state file from memory, replacing whatever is at its path.
func (t *tender) remake() error {
	if err := t.relock(); err != nil {
		return err
	}
	there, err := t.claim()
	if err != nil {
		return err
	}
	if there != nil {
		defer func() { _ = there.Close() }()
	}
	temporary, err := writeTemporary(t.cfg, make(image, len(t.image)))
	if err != nil {
		return err
	}
	old := t.file
	fresh, err := mapFile(temporary, len(old.data))
	if err == nil {
		err = lockFile(temporary)
	}
	if err != nil {
		_ = temporary.Close()
		_ = os.Remove(temporary.Name())
		return err
	}
	fresh.lock = old.lock
	t.moveTo(fresh) // before the rename, so that the file at the path is always exact
	if err := os.Rename(temporary.Name(), t.cfg.Path); err != nil {
		_ = os.Remove(temporary.Name())
		t.moveTo(old)
		_ = fresh.release()
		return err
	}
	_ = old.release()
	return nil
}

// claim locks the file at the path, if there is one and it is not ours, until the
// result is closed. Error: ErrLocked, or why the file may not be replaced.
func (t *tender) claim() (*os.File, error) {
	f, err := os.OpenFile(t.cfg.Path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("there is something at its path that is not a regular file")
	case isAt(t.file.f, t.cfg.Path):
		_ = f.Close()
		return nil, nil // already locked by us
	default:
		err = lockFile(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// moveTo fills f from memory and has every change from now on copied to it.
func (l *Ledger) moveTo(f *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.fill(l.image)
	l.keepIn(f)
}
