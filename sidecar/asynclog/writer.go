// Package asynclog writes the log without anyone having to wait for it. Lines go
// into memory, one goroutine writes them, and what finds no room there is
// counted: a reader that stalls or goes away must not take requests along.
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
	// maxHeld is how many bytes of lines may wait to be written.
	maxHeld = 4 << 20
	// chunkBytes is written at once: of a request's cost a system call of its
	// own would be a twelfth.
	chunkBytes = 32 << 10
	// maxSpare is how many chunks are kept for the lines to come.
	maxSpare = 8
	// gatherDelay is how long a line may wait for others, to be written together.
	gatherDelay = 10 * time.Millisecond
	// retryDelay is the time between two tries to write after one that failed.
	retryDelay = 200 * time.Millisecond
	// closeTimeout is how long Close waits for the lines that are left.
	closeTimeout = time.Second
)

// ErrLeft is returned by Close when lines were left that nobody took.
var ErrLeft = errors.New("asynclog: not all lines were written")

// OutcomeNone stands, where lines left out are counted by outcome, for those that
// tell of no request.
const OutcomeNone = "none"

// A Writer passes lines on to a writer that may block or fail. Make it with New;
// its methods but Run never wait for that writer, and are safe for concurrent
// use.
//
// What cannot be written is tried again, so that a reader may go and another
// come; meanwhile up to 4 MiB of lines are kept. From then on lines are left out
// until half of that is written, and one line in their place says how many.
type Writer struct {
	out     io.Writer
	wake    chan struct{} // holds one: there are lines
	hurry   chan struct{} // holds one: and they wait for no others
	closing chan struct{}
	ended   chan struct{} // closed when Run returns
	once    sync.Once

	mu      sync.Mutex
	chunks  [][]byte // of whole lines, in their order; the last one takes more
	spare   [][]byte
	held    int               // bytes in chunks and of what Run is writing
	leaving bool              // lines are left out
	leftOut map[string]uint64 // by outcome, since the last line that said so
	total   map[string]uint64 // by outcome, since the start
	report  func(leftOut map[string]uint64) []byte
}

// New returns a Writer to out. Lines are written while Run runs.
func New(out io.Writer) *Writer {
	return &Writer{
		out:  out,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		closing: make(chan struct{}), ended: make(chan struct{}),
		leftOut: make(map[string]uint64), total: make(map[string]uint64),
		report: func(map[string]uint64) []byte { return nil },
	}
}

// Write implements io.Writer for text that ends a line. It never fails and keeps
// nothing of p.
func (w *Writer) Write(p []byte) (int, error) {
	w.put(p, true, func() string { return OutcomeNone })
	return len(p), nil
}

// Sync has the lines written soon, and does not wait for that.
func (w *Writer) Sync() error {
	nudge(w.hurry)
	return nil
}

// LeftOut returns how many lines were left out since the start, by the outcome of
// the request that they told of, or OutcomeNone.
func (w *Writer) LeftOut() map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.total)
}

// put takes a line, or counts it under outcome.
func (w *Writer) put(line []byte, urgent bool, outcome func() string) {
	w.mu.Lock()
	if w.leaving || w.held+len(line) > maxHeld {
		w.leaving = true
		o := outcome()
		w.leftOut[o]++
		w.total[o]++
		w.mu.Unlock()
		nudge(w.wake)
		return
	}
	before := len(w.chunks)
	w.add(line)
	after := len(w.chunks)
	w.mu.Unlock()
	if before == 0 {
		nudge(w.wake)
	}
	if urgent || before > 0 && after > before {
		nudge(w.hurry)
	}
}

// add appends a line; mu is held.
func (w *Writer) add(line []byte) {
	w.held += len(line)
	last := len(w.chunks) - 1
	if last < 0 || len(w.chunks[last])+len(line) > cap(w.chunks[last]) {
		var chunk []byte
		if n := len(w.spare); n > 0 && len(line) <= chunkBytes {
			chunk, w.spare = w.spare[n-1], w.spare[:n-1]
		} else {
			chunk = make([]byte, 0, max(chunkBytes, len(line)))
		}
		w.chunks = append(w.chunks, chunk)
		last++
	}
	w.chunks[last] = append(w.chunks[last], line...)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes until Close; it is called once.
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

// take returns the chunks that wait; their room is given back by wrote. The list
// before is used again.
func (w *Writer) take(before [][]byte) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resume() // where a line was left out that alone is too long, nothing waits
	batch := w.chunks
	w.chunks = before[:0]
	return batch
}

// wrote gives the room of a chunk back.
func (w *Writer) wrote(chunk []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held -= len(chunk)
	if cap(chunk) == chunkBytes && len(w.spare) < maxSpare {
		w.spare = append(w.spare, chunk[:0])
	}
	w.resume()
}

// resume ends leaving lines out once there is room for many, and puts the line
// that counts them into their place; mu is held.
func (w *Writer) resume() {
	if !w.leaving || w.held > maxHeld/2 {
		return
	}
	w.leaving = false
	if line := w.report(w.leftOut); len(line) > 0 {
		w.add(line)
		nudge(w.wake)
	}
	clear(w.leftOut)
}

// write writes a chunk, however often it has to try; false: it is given up.
func (w *Writer) write(chunk []byte) bool {
	for done := 0; ; {
		n, err := w.out.Write(chunk[done:])
		if done += n; done == len(chunk) {
			return true
		}
		gone := errors.Is(err, syscall.EPIPE)
		if gone { // the next reader begins with a whole line
			done = bytes.LastIndexByte(chunk[:done], '\n') + 1
		}
		switch closing := w.isClosing(); {
		case closing && gone:
			return false
		case closing: // until Close gives up, and the process ends
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

// Close has Run write what is left and end, and waits a second for that at most.
// Its error is ErrLeft. A Run that hangs in a write then is left to the end of
// the process, which is what Close is for.
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
	if w.held > 0 {
		return ErrLeft
	}
	return nil
}
