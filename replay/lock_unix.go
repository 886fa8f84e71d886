//go:build unix

package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errMoved: the file was moved away from its path between opening and locking it.
var errMoved = errors.New("state file was moved")

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w by another process", ErrLocked)
	}
	return err
}

// isAt reports whether f is the file at path.
func isAt(f *os.File, path string) bool {
	own, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(own, there)
}

// lockPath locks the path itself, by locking a file beside it. The lock on the
// state file protects nothing once that file was removed or replaced: a second
// process could start there with an empty window and let spent numbers pass. It
// returns nil if the lock file cannot be created; then only the state file's own
// lock is left. Error: ErrLocked.
func lockPath(path string) (*os.File, error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for range 3 {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, nil
		}
		err = lockFile(f)
		if err == nil && isAt(f, name) {
			return f, nil
		}
		_ = f.Close()
		if errors.Is(err, ErrLocked) {
			return nil, err
		}
	}
	return nil, nil
}

// unlockPath removes the lock file while it is still locked: a process that opened
// it before notices, by isAt, that it is no longer the file at that path.
func unlockPath(lock *os.File) {
	if lock == nil {
		return
	}
	if isAt(lock, lock.Name()) {
		_ = os.Remove(lock.Name())
	}
	_ = lock.Close()
}
