package front

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Stream is a request body that is read as it arrives. Make it with Conn.Stream. While
// the request waits for its turn, Spool may read ahead; then call Begin, and Read. Read
// is for one goroutine, which need not be the one that serves the connection and may
// answer meanwhile. If an answer was begun before the whole body was read, the connection
// ends with it. When the request ends, no Read may be running any more; Release it then.
type Stream struct {
	c     *Conn
	limit int64
	taken int64
	left  time.Duration // how long the client may still be waited for, in all
	waits time.Time     // since when it is being waited for; zero: it is not
	whole atomic.Bool   // all of the body was read

	spool        spool
	halt, halted chan struct{} // closed when Spool is to end, and when it has

	mu   sync.Mutex // held while the read deadline is set
	stop time.Time  // when Read fails; zero: not yet
}

// Stream returns the body of the request being served on c, of which at most limit bytes
// are accepted. What Spool keeps of it counts in the budget of all bodies.
func (c *Conn) Stream(limit int, budget *Budget) *Stream {
	s := &Stream{c: c, limit: int64(limit), left: c.server.o.ReadTimeout, spool: spool{budget: budget}}
	s.whole.Store(!c.guard.inBody())
	return s
}

// Begin must be called before the first Read. It tells a client that waits for it to send
// the body. Other clients may have begun: faults in chunks that have arrived already are
// reported here, before anybody gets a part of them. Errors: ErrGone, ErrBodyTooLarge,
// ErrBodyFraming.
func (s *Stream) Begin() error {
	c := s.c
	if c.guard.state == inChunks && !c.ahead.Empty() {
		if err := s.fillFromAhead(); err != nil {
			return err
		}
	} else if c.guard.inBody() && c.ahead.Empty() && s.taken == 0 {
		if invite(c) != nil {
			return ErrGone
		}
	}
	c.state.continued = true // it has begun
	c.stream = s
	return nil
}

// Read reads what has arrived, and waits if nothing has. The read time-out runs only
// while it waits for the client: not while the request waits for its turn, or the reader
// is busy. io.EOF means only the true end, and comes with the last bytes if it is known
// by then. Errors: ErrBodyTooLarge, ErrBodyTimeout (also after Stop), ErrBodyFraming,
// ErrGone.
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

// read reads from the connection, until the whole body was read. before is called each
// time before it may wait for the client. Errors: those of Read without io.EOF, but
// os.ErrDeadlineExceeded unchanged.
func (s *Stream) read(p []byte, before func(*Conn) error) (n int, err error) {
	defer recoverBody(s, &err)
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

// arm sets the read deadline before each wait for the client.
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

// disarm subtracts the time waited from the time left.
func (s *Stream) disarm() {
	if !s.waits.IsZero() {
		s.left -= time.Since(s.waits)
		s.waits = time.Time{}
	}
}

// Stop makes Read fail from a given time on. Any goroutine may call it.
func (s *Stream) Stop(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = at
	_ = s.c.SetReadDeadline(at)
}

// Taken returns how many bytes were read. Call it once nobody reads any more.
func (s *Stream) Taken() int64 { return s.taken }

// Release frees what Spool read and nobody took.
func (s *Stream) Release() { s.spool.release() }

// comes reports whether the body may still be read by another goroutine, or was given up
// in the middle, so that it is not known where the next request begins. s may be nil.
func comes(s *Stream) bool { return s != nil && !s.whole.Load() }
