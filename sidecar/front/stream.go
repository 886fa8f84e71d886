package front

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Stream is the body of a request, read as it comes. Make it with Conn.Stream.
// While the request waits for its turn, Spool may read ahead; then Begin, and Read.
// Read is for one goroutine, which need not be the one that serves the connection:
// that one may answer meanwhile. The connection ends with an answer that was begun
// before the body had come whole. No Read may be under way any more when the
// request ends; Release it then.
type Stream struct {
	c     *Conn
	limit int64
	taken int64
	left  time.Duration // for how long the client may still be waited for, in all
	waits time.Time     // since when it is; zero: it is not
	whole atomic.Bool   // all of the body was read

	spool        spool
	halt, halted chan struct{} // Spool is to end, and has

	mu   sync.Mutex // is held while the read deadline is set
	stop time.Time  // when Read fails; zero: not yet
}

// Stream is the body of the request that is served on c, of which at most limit
// bytes are taken. What Spool keeps of it counts among all that budget bounds.
func (c *Conn) Stream(limit int, budget *Budget) *Stream {
	s := &Stream{c: c, limit: int64(limit), left: c.server.o.ReadTimeout, spool: spool{budget: budget}}
	s.whole.Store(!c.guard.inBody())
	return s
}

// Begin is called before the first Read. It tells a client that waits for it to
// send the body; the others may have begun, and what is wrong with chunks that are
// here already is told before somebody gets a part of them. Errors: ErrGone,
// ErrBodyTooLarge, ErrBodyFraming.
func (s *Stream) Begin() error {
	c := s.c
	if c.guard.state == inChunks && !c.ahead.Empty() {
		if err := s.fillFromAhead(); err != nil {
			return err
		}
	} else if c.guard.inBody() && c.ahead.Empty() && s.taken == 0 {
		if c.invite() != nil {
			return ErrGone
		}
	}
	c.state.continued = true // it has begun
	c.stream = s
	return nil
}

// Read reads what is here, and waits while nothing is. While it waits for the
// client the read time-out runs: not while the request waits for its turn, or the
// reader is busy. io.EOF is the true end alone, and comes with the last bytes where
// it is known then. Errors: ErrBodyTooLarge, ErrBodyTimeout (also after Stop),
// ErrBodyFraming, ErrGone.
func (s *Stream) Read(p []byte) (int, error) {
	if n := s.spool.take(p); n > 0 {
		if len(s.spool.pieces) == 0 && s.whole.Load() {
			return n, io.EOF
		}
		return n, nil
	}
	n, err := s.read(p, s.arm)
	s.disarm()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrBodyTimeout
	} else if err == nil && s.whole.Load() {
		err = io.EOF
	}
	return n, err
}

// read reads from the connection, until all of the body was. before is called each
// time that the client may be waited for. Errors: those of Read, but for io.EOF, and
// with os.ErrDeadlineExceeded as it is.
func (s *Stream) read(p []byte, before func(*Conn) error) (n int, err error) {
	defer s.recoverBody(&err)
	n, err = (*clientBody)(s.c).read(p, before)
	if s.taken += int64(n); s.taken > s.limit {
		return 0, ErrBodyTooLarge
	}
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		s.whole.Store(true)
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, err
	case isBreak(err):
		return 0, ErrGone
	}
	return 0, ErrBodyFraming
}

// arm is called before each wait for the client.
func (s *Stream) arm(c *Conn) error {
	s.disarm()
	s.waits = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.waits.Add(s.left)
	if !s.stop.IsZero() && s.stop.Before(until) {
		until = s.stop
	}
	return c.SetReadDeadline(until)
}

// disarm takes what was waited from what may be.
func (s *Stream) disarm() {
	if !s.waits.IsZero() {
		s.left -= time.Since(s.waits)
		s.waits = time.Time{}
	}
}

// Stop has Read fail from a time on. Any goroutine may call it.
func (s *Stream) Stop(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = at
	_ = s.c.SetReadDeadline(at)
}

// Taken is how much was read, in bytes; once nobody reads any more.
func (s *Stream) Taken() int64 { return s.taken }

// Release gives back what Spool read in vain.
func (s *Stream) Release() { s.spool.release() }

// comes reports whether the body may still be read by another goroutine, or was
// given up in the middle: then it is not known where the next request begins.
func (c *Conn) comes() bool { return c.stream != nil && !c.stream.whole.Load() }
