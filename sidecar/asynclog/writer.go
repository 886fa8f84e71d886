// Package asynclog writes the log without making anyone wait for it. Lines go into
// bounded memory, one goroutine writes them, and lines that do not fit are counted:
// a log reader that stalls or goes away must not stall requests.
package asynclog

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"sync"
	"syscall"
	"time"
)

const (
	// gatherDelay is how long a line may wait for others, to be written together:
	// each write wakes a process that may be idle, and the runtime's monitor with it.
	gatherDelay = 30 * time.Millisecond
	// retryDelay is the time between attempts to write after one failed.
	retryDelay = 200 * time.Millisecond
	// closeTimeout is how long Close waits for the remaining lines.
	closeTimeout = time.Second
)

// ErrLeft is returned by Close if some lines could not be written.
var ErrLeft = errors.New("asynclog: not all lines were written")

// OutcomeNone is the outcome under which left-out lines are counted that are not
// about a request.
const OutcomeNone = "none"

// A Writer passes lines on to a writer that may block or fail. Make it with New; its
// methods other than Run never wait for that writer, and are safe for concurrent
// use.
//
// A failed write is repeated, so that the log's reader can be restarted; meanwhile
// up to 4 MiB of lines are kept. After that, lines are left out until half of that
// has been written, and one line in their place says how many.
type Writer struct {
	out     io.Writer
	wake    chan struct{} // buffered: there are lines
	hurry   chan struct{} // buffered: the lines should be written at once
	closing chan struct{}
	ended   chan struct{} // closed when Run returns
	once    sync.Once

	mu      sync.Mutex
	backlog backlog
}

// New returns a Writer to out. Lines are written while Run runs.
func New(out io.Writer) *Writer {
	return &Writer{
		out:  out,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		closing: make(chan struct{}), ended: make(chan struct{}),
		backlog: newBacklog(),
	}
}

// Write implements io.Writer. p must end with a line break. It never fails and does
// not retain p.
func (w *Writer) Write(p []byte) (int, error) {
	w.put(p, true, func() string { return OutcomeNone })
	return len(p), nil
}

// Sync has the lines written soon, without waiting for it.
func (w *Writer) Sync() error {
	nudge(w.hurry)
	return nil
}

// LeftOut returns how many lines have been left out since the start, by the outcome
// of the request they were about, or OutcomeNone.
func (w *Writer) LeftOut() map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.backlog.total)
}

// put takes a line, or leaves it out and counts it under outcome.
func (w *Writer) put(line []byte, urgent bool, outcome func() string) {
	w.mu.Lock()
	before := len(w.backlog.chunks)
	kept := w.backlog.put(line, outcome)
	after := len(w.backlog.chunks)
	w.mu.Unlock()
	if !kept || before == 0 {
		nudge(w.wake)
	}
	if kept && (urgent || before > 0 && after > before) {
		nudge(w.hurry)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes until Close. Call it once.
func (w *Writer) Run() {
	defer close(w.ended)
	gather := time.NewTimer(gatherDelay)
	defer gather.Stop()
	var batch [][]byte
	for {
		select {
		case <-w.wake:
			gather.Reset(gatherDelay)
			select {
			case <-gather.C:
			case <-w.hurry:
			case <-w.closing:
			}
		case <-w.closing:
		}
		if batch = w.take(batch); len(batch) == 0 {
			if w.isClosing() {
				return
			}
			continue
		}
		for i, chunk := range batch {
			if !w.write(chunk) {
				return
			}
			w.wrote(chunk)
			batch[i] = nil
		}
	}
}

// take returns the chunks to write. Their memory counts until wrote is called. The
// slice that was returned before is reused.
func (w *Writer) take(before [][]byte) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.backlog.resume() { // nothing else would, if the one line left out was too long by itself
		nudge(w.wake)
	}
	batch := w.backlog.chunks
	w.backlog.chunks = before[:0]
	return batch
}

// wrote frees the memory of a chunk.
func (w *Writer) wrote(chunk []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog.free(chunk)
	if w.backlog.resume() {
		nudge(w.wake)
	}
}

// write writes a chunk, with as many attempts as it takes. It reports false if it
// gave up.
func (w *Writer) write(chunk []byte) bool {
	for done := 0; ; {
		n, err := w.out.Write(chunk[done:])
		if done += n; done == len(chunk) {
			return true
		}
		gone := errors.Is(err, syscall.EPIPE)
		if gone { // the next reader should begin with a whole line
			done = bytes.LastIndexByte(chunk[:done], '\n') + 1
		}
		switch closing := w.isClosing(); {
		case closing && gone:
			return false
		case closing: // until Close times out and the process ends
			time.Sleep(gatherDelay)
		default:
			select {
			case <-time.After(retryDelay):
			case <-w.closing:
			}
		}
	}
}

func (w *Writer) isClosing() bool {
	select {
	case <-w.closing:
		return true
	default:
		return false
	}
}

// Close makes Run write the remaining lines and return, and waits for that for at
// most a second. Its error is ErrLeft. A Run that hangs in a write is abandoned:
// Close is for the end of the process.
func (w *Writer) Close() error {
	w.once.Do(func() { close(w.closing) })
	over := time.NewTimer(closeTimeout)
	defer over.Stop()
	select {
	case <-w.ended:
	case <-over.C:
		return ErrLeft
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.backlog.held > 0 {
		return ErrLeft
	}
	return nil
}
