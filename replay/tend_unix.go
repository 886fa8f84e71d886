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

// tendEvery is how often the state file is looked at.
const tendEvery = 2 * time.Second

// Run looks after the state file until ctx ends: one that was truncated, removed,
// replaced or changed, or cannot be stored into, is reported and made anew from
// the windows in memory. These stay exact whatever happens to the file, so the
// ledger goes on with them: as long as the process lives no number passes twice.
// To end it instead would lose what only its memory knows. Until the file is
// made anew, which is tried at once and then every tendEvery, a restart finds a
// damaged file and refuses it, or none and begins with an empty window.
//
// The file is made anew only where no other process holds the path or what
// stands there.
func (l *Ledger) Run(ctx context.Context) {
	if l.cfg.Path == "" {
		return
	}
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			l.tend(told)
			return
		case <-ticker.C:
		case <-l.file.wake:
		}
		told = l.tend(told)
	}
}

// tend looks once. told is what was reported and still lasts.
func (l *Ledger) tend(told string) string {
	fault := l.look()
	var unmade error
	lasts := ""
	if fault != nil {
		fault = fmt.Errorf("%s: %w", l.cfg.Path, fault)
		if unmade = l.remake(); unmade != nil {
			unmade = fmt.Errorf("%s: %w", l.cfg.Path, withoutPath(unmade))
			lasts = fault.Error() + "; it cannot be made anew: " + unmade.Error()
		}
	}
	l.mu.Lock()
	if fault != nil {
		l.faults++
	}
	l.fault = lasts
	l.mu.Unlock()
	if report := l.cfg.Report; report != nil && (lasts != told || fault != nil && unmade == nil) {
		report(fault, unmade)
	}
	return lasts
}

// look reports what is wrong with the state file; nil: nothing.
func (l *Ledger) look() error {
	f := l.file
	_ = l.relock() // should another process have been quicker, the file's own lock keeps it out
	there, err := os.Stat(l.cfg.Path)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("state file was removed while in use")
	}
	if err != nil {
		return fmt.Errorf("state file cannot be found any more: %w", withoutPath(err))
	}
	own, err := f.f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("state file cannot be read any more: %w", withoutPath(err))
	case !os.SameFile(own, there):
		return errors.New("state file was replaced by another while in use")
	case own.Size() > int64(len(f.data)):
		return fmt.Errorf("state file was made longer while in use: it has %d bytes and not %d", own.Size(), len(f.data))
	case own.Size() < int64(len(f.data)):
		return fmt.Errorf("state file was truncated while in use: it has %d bytes and not %d", own.Size(), len(f.data))
	}
	l.mu.Lock()
	fault := f.fault
	l.mu.Unlock()
	if fault != nil {
		return fmt.Errorf("state file cannot be stored into: %w", fault)
	}
	return l.compare()
}

// compare holds the file against memory, a page at a time. It is read, not looked
// at through the mapping: a read fails where that would fault.
func (l *Ledger) compare() error {
	f, page := l.file, make([]byte, pageSize)
	for at := 0; at < len(f.data); at += pageSize {
		same, err := l.same(page, at, false)
		if err == nil && !same {
			same, err = l.same(page, at, true) // it was changed meanwhile, by us
		}
		if err != nil {
			return fmt.Errorf("state file cannot be read any more: %w", withoutPath(err))
		}
		if !same {
			return errors.New("state file was changed by somebody else while in use")
		}
	}
	return nil
}

// same compares a page; held keeps the ledger from changing it meanwhile.
func (l *Ledger) same(page []byte, at int, held bool) (bool, error) {
	if held {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	if _, err := l.file.f.ReadAt(page, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !held {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	return bytes.Equal(page, l.image.bytes()[at:at+pageSize]), nil
}

// relock holds the path again after the lock's file went away.
func (l *Ledger) relock() error {
	if lock := l.file.lock; lock != nil && isAt(lock, lock.Name()) {
		return nil
	}
	lock, err := lockPath(l.cfg.Path)
	if err != nil {
		return err
	}
	if l.file.lock != nil {
		_ = l.file.lock.Close()
	}
	l.file.lock = lock
	return nil
}

// remake makes the state file anew from memory, in the place of what stands at
// its path.
func (l *Ledger) remake() error {
	if err := l.relock(); err != nil {
		return err
	}
	there, err := l.claim()
	if err != nil {
		return err
	}
	if there != nil {
		defer func() { _ = there.Close() }()
	}
	temporary, err := writeTemporary(l.cfg, make(image, len(l.image)))
	if err != nil {
		return err
	}
	old := l.file
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
	l.moveTo(fresh) // now, so that it is exact from its first moment at the path
	if err := os.Rename(temporary.Name(), l.cfg.Path); err != nil {
		_ = os.Remove(temporary.Name())
		l.moveTo(old)
		_ = fresh.release()
		return err
	}
	_ = old.release()
	return nil
}

// claim locks what stands at the path and is not ours, if anything, until what it
// returns is closed. Error: ErrLocked, or why nothing may be put in its place.
func (l *Ledger) claim() (*os.File, error) {
	f, err := os.OpenFile(l.cfg.Path, os.O_RDWR|unix.O_NONBLOCK, 0)
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
		err = errors.New("what stands there is no regular file")
	case isAt(l.file.f, l.cfg.Path):
		_ = f.Close()
		return nil, nil // locked it is
	default:
		err = lockFile(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// moveTo has f hold what memory holds, and every change from here on.
func (l *Ledger) moveTo(f *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.fill(l.image)
	l.keepIn(f)
}
