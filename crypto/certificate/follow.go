package certificate

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// A followed is a value made from files, and made again when they change. It is
// read into locals and published as a whole; the last good one is kept. Its methods
// are safe for concurrent use.
type followed[T any] struct {
	read    func() ([][]byte, error) // the files, in an order of its own
	make    func([][]byte) (T, error)
	current atomic.Pointer[T]

	mu   sync.Mutex
	seen [][]byte // what was last read, good or not
	bad  error    // what is wrong with it
}

// load reads the files and publishes the new value, if they changed and are good.
// changed reports whether the files differ from the last time.
func (f *followed[T]) load() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	texts, err := f.read()
	if err != nil {
		return false, err
	}
	if f.seen != nil && equal(texts, f.seen) {
		return false, f.bad
	}
	made, err := f.make(texts)
	if f.seen, f.bad = texts, err; err != nil {
		return true, err
	}
	f.current.Store(&made)
	return true, nil
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) || (a[i] == nil) != (b[i] == nil) {
			return false
		}
	}
	return true
}
