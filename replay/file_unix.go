//go:build unix

package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A file is a state file, locked and mapped. It is a copy of the windows in memory
// and is not read while in use, so that truncating, removing or changing it, or a
// failing disk, harms only the copy. A store into the mapping survives a SIGKILL
// and costs a hundredth of a write(2).
type file struct {
	f      *os.File
	lock   *os.File // on the path, see lockPath; nil if the directory does not permit one
	data   []byte
	mapped []uint64      // data, word by word
	fault  error         // the first store that failed; no more are tried after it
	wake   chan struct{} // receives once when fault is set
}

// openFile opens the state file. If there is none it is written under another name
// first, so that a partial one is never found.
func openFile(cfg Config, blocks int) (*file, image, error) {
	lock, err := lockPath(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	for range 3 {
		f, err := os.OpenFile(cfg.Path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			if err = create(cfg, newImage(cfg, blocks)); err == nil {
				continue
			}
		}
		if err != nil {
			unlockPath(lock)
			return nil, nil, withoutPath(err)
		}
		opened, content, err := readFile(f, cfg, blocks)
		if errors.Is(err, errMoved) {
			_ = f.Close()
			continue
		}
		if err != nil {
			_ = f.Close()
			unlockPath(lock)
			return nil, nil, err
		}
		opened.lock = lock
		return opened, content, nil
	}
	unlockPath(lock)
	return nil, nil, errors.New("something keeps removing or replacing it while it is opened")
}

// withoutPath unwraps an error that names a path, for callers that name the state
// file themselves.
func withoutPath(err error) error {
	var p *os.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// create makes the state file with the given content, unless it exists by then.
func create(cfg Config, content image) error {
	f, err := writeTemporary(cfg, content)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	// A link fails where a rename would replace: of two processes that create the
	// file at once, the second uses the first one's.
	if err := os.Link(f.Name(), cfg.Path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// writeTemporary writes content to a file beside the state file. Every byte is
// written so that all blocks are allocated: a store into the mapping must never
// find the disk full.
func writeTemporary(cfg Config, content image) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(cfg.Path), "."+filepath.Base(cfg.Path)+".*")
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(content.bytes()); err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

// readFile locks, reads and checks the file, and maps it.
func readFile(f *os.File, cfg Config, blocks int) (*file, image, error) {
	if err := lockFile(f); err != nil {
		return nil, nil, err
	}
	if !isAt(f, cfg.Path) {
		return nil, nil, errMoved
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, 0); err != nil || info.Size() < 2*pageSize {
		return nil, nil, fmt.Errorf("%w: it is too short", ErrDamaged)
	}
	slots, err := checkHeader(page, cfg)
	if err != nil {
		return nil, nil, err
	}
	size := fileBytes(slots, blocks)
	if slots < cfg.Keys && info.Size() >= int64(size) {
		if err := grow(f, cfg, slots, blocks); err != nil {
			return nil, nil, fmt.Errorf("extending it for more keys: %w", withoutPath(err))
		}
		size = fileBytes(cfg.Keys, blocks)
	} else if info.Size() != int64(size) {
		return nil, nil, fmt.Errorf("%w: it has %d bytes instead of %d", ErrDamaged, info.Size(), size)
	}
	content := make(image, size/8)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(size)), content.bytes()); err != nil {
		return nil, nil, fmt.Errorf("reading it: %w", withoutPath(err))
	}
	if err := content.checkRest(blocks); err != nil {
		return nil, nil, err
	}
	opened, err := mapFile(f, size)
	return opened, content, err
}

func mapFile(f *os.File, size int) (*file, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping it: %w", err)
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&data[0])), size/8)
	return &file{f: f, data: data, mapped: words, wake: make(chan struct{}, 1)}, nil
}

// put stores words from index i on, in order, unless an earlier store failed. The
// ledger's mutex must be held.
func (f *file) put(i int, words []uint64) {
	if f != nil && f.fault == nil {
		f.store(i, words)
	}
}

func (f *file) store(i int, words []uint64) {
	defer f.caught(debug.SetPanicOnFault(true))
	to := f.mapped[i : i+len(words)]
	for k, v := range words {
		atomic.StoreUint64(&to[k], v)
	}
}

// fill stores the whole content.
func (f *file) fill(content image) {
	if f.fault == nil {
		defer f.caught(debug.SetPanicOnFault(true))
		copy(f.mapped, content)
	}
}

// caught, deferred, turns a memory fault into f.fault: the page is gone (SIGBUS)
// because the file was truncated, or its disk or file server failed. before is the
// setting of debug.SetPanicOnFault to restore.
func (f *file) caught(before bool) {
	debug.SetPanicOnFault(before)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	f.fault = fault
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// close writes the file to disk, closes it and unlocks its path.
func (f *file) close() error {
	if f == nil {
		return nil
	}
	err := f.release()
	unlockPath(f.lock)
	return err
}

// release is close without unlocking the path.
func (f *file) release() error {
	var err error
	if f.fault == nil {
		err = unix.Msync(f.data, unix.MS_SYNC)
	}
	if e := unix.Munmap(f.data); err == nil {
		err = e
	}
	if e := f.f.Close(); err == nil {
		err = e
	}
	return err
}
