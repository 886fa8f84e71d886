//go:build unix

package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errMoved: between its opening and its locking the file went from its path.
var errMoved = errors.New("state file was moved")

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w by another process", ErrLocked)
	}
	return err
}

// isAt reports whether f is what stands at path.
func isAt(f *os.File, path string) bool {
	own, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(own, there)
}

// lockPath holds the path itself, by a lock on a file beside it: that on the
// state file says nothing any more once that was removed or replaced, and a
// second process that began with an empty window there would let spent numbers
// pass. It returns nil where no such file can be made; the state file's own lock
// then has to do. Error: ErrLocked.
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

// unlockPath removes the lock's file while it is held: who opened it before
// finds by isAt that it is not the one any more.
func unlockPath(lock *os.File) {
	if lock == nil {
		return
	}
	if isAt(lock, lock.Name()) {
		_ = os.Remove(lock.Name())
	}
	_ = lock.Close()
}
