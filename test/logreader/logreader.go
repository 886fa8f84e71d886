//go:build unix

// Package logreader reads what a process writes to stderr like a log driver that stalls,
// goes away and comes back.
package logreader

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A Reader is the reading end of a named pipe. Make it with New. Read is for one
// goroutine; the other methods are safe for concurrent use.
type Reader struct {
	path string

	mu      sync.Mutex
	changed *sync.Cond
	file    *os.File // nil: gone
	stopped bool
	reading bool // from file
	fresh   bool // it has come back since the last Read
}

// New makes the pipe in an empty folder and returns its reader and the end for the
// process's stderr, which the caller closes once the process runs.
func New(dir string) (r *Reader, stderr *os.File, err error) {
	r = &Reader{path: filepath.Join(dir, "log")}
	r.changed = sync.NewCond(&r.mu)
	if err := syscall.Mkfifo(r.path, 0o600); err != nil {
		return nil, nil, &os.PathError{Op: "mkfifo", Path: r.path, Err: err}
	}
	if err := r.Return(); err != nil {
		return nil, nil, err
	}
	// Not by package os, which would make it non-blocking: a process's stderr blocks.
	fd, err := syscall.Open(r.path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		r.Leave()
		return nil, nil, &os.PathError{Op: "open", Path: r.path, Err: err}
	}
	return r, os.NewFile(uintptr(fd), r.path), nil
}

// Read implements io.Reader. It waits while the reader is stopped or gone, and returns
// io.EOF when the process has ended. After the reader was gone it returns a line break
// first, as part of a line may have been lost.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		r.mu.Lock()
		for r.stopped || r.file == nil {
			r.changed.Wait()
		}
		file := r.file
		if r.fresh {
			r.fresh = false
			r.mu.Unlock()
			return copy(p, "\n"), nil
		}
		r.reading = true
		r.mu.Unlock()
		n, err := file.Read(p)
		r.mu.Lock()
		r.reading = false
		r.changed.Broadcast()
		r.mu.Unlock()
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, io.EOF
		}
	}
}

// Stop makes the reader take nothing more and fills the pipe, so that the process's next
// write blocks.
func (r *Reader) Stop() error {
	r.mu.Lock()
	r.stopped = true
	if r.file != nil {
		_ = r.file.SetReadDeadline(time.Unix(1, 0)) // ends a Read under way
		for r.reading {
			r.changed.Wait()
		}
		_ = r.file.SetReadDeadline(time.Time{})
	}
	r.mu.Unlock()
	fd, err := syscall.Open(r.path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: r.path, Err: err}
	}
	defer func() { _ = syscall.Close(fd) }()
	lines := make([]byte, 4096)
	for i := range lines {
		lines[i] = '\n'
	}
	for size := len(lines); size > 0; {
		switch _, err := syscall.Write(fd, lines[:size]); err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
			size /= 2
		default:
			return &os.PathError{Op: "write", Path: r.path, Err: err}
		}
	}
	return nil
}

// Continue ends Stop.
func (r *Reader) Continue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = false
	r.changed.Broadcast()
}

// Leave closes the reader's end: the process's next write fails with EPIPE.
func (r *Reader) Leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// Return opens the reader's end again.
func (r *Reader) Return() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		return nil
	}
	file, err := os.OpenFile(r.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	r.file, r.fresh = file, true
	r.changed.Broadcast()
	return nil
}
