package front

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Stream is the body of a request, read as it comes. Conn.Stream begins it. Read
// and Taken are for one goroutine, which need not be the one that serves the
// connection: that one may answer meanwhile. The connection ends with an answer
// that was begun before the body had come whole. No Read may be under way any more
// when the request ends.
type Stream struct {
	c     *Conn
	limit int64
	taken int64
	left  time.Duration // for how long the client may still be waited for, in all
	waits time.Time     // since when it is; zero: it is not
	whole atomic.Bool   // all of the body was read

	mu   sync.Mutex // is held while the read deadline is set
	stop time.Time  // when Read fails; zero: not yet
}

// Stream begins to read the body of the request that is served on c, of which at
// most limit bytes are taken. It tells a client that waits for it to send the body;
// the others may have begun. While Read waits for the client its read time-out
// runs: not while the request waits for its turn, or the reader is busy. The
// error is ErrGone.
func (c *Conn) Stream(limit int) (*Stream, error) {
	s := &Stream{c: c, limit: int64(limit), left: c.server.o.ReadTimeout}
	if c.guard.inBody() && c.ahead.Empty() {
		if c.invite() != nil {
			return nil, ErrGone
		}
	}
	c.state.continued = true // it has begun
	s.whole.Store(!c.guard.inBody())
	c.stream = s
	return s, nil
}

// Read reads what is here, and waits while nothing is. io.EOF is the true end
// alone, and comes with the last bytes where it is known then. Errors:
// ErrBodyTooLarge, ErrBodyTimeout (also after Stop), ErrBodyFraming, ErrGone.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.c.readBody(p, s.arm)
	s.disarm()
	if s.taken += int64(n); s.taken > s.limit {
		return 0, ErrBodyTooLarge
	}
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		s.whole.Store(true)
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, ErrBodyTimeout
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

// Taken is how much was read, in bytes.
func (s *Stream) Taken() int64 { return s.taken }

// comes reports whether the body may still be read by another goroutine, or was
// given up in the middle: then it is not known where the next request begins.
func (c *Conn) comes() bool { return c.stream != nil && !c.stream.whole.Load() }
