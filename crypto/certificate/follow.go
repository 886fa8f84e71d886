package certificate

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// A followed is something that is made of the text of files, and made again when
// they change: read into locals, published whole, the last good one kept. Its
// methods are safe for concurrent use.
type followed[T any] struct {
	read    func() ([][]byte, error) // the files, in an order of its own
	make    func([][]byte) (T, error)
	current atomic.Pointer[T]

	mu   sync.Mutex
	seen [][]byte // what was last read, good or not
	bad  error    // what is wrong with it
}

// load reads the files and publishes what they make, if they changed and are good.
// changed reports whether something else was read than the last time.
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
