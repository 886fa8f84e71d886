package front

// A TLS record that was begun must be finished before the next one, and cannot be sealed
// again. A write that must not wait therefore seals everything it is given, and the
// connection keeps what the socket does not take. Until that is sent nothing counts as
// taken, and the same bytes have to be offered again, as with OpenSSL's SSL_write.

// TryWrite implements Taker.
func (s *secureConn) TryWrite(p []byte) (n int, err error) {
	t := s.turn
	t.noWait = true
	defer func() { t.noWait = false }()
	if s.sealed == 0 {
		if _, err := s.Conn.Write(p); err != nil {
			return 0, err
		}
		s.sealed = len(p)
	} else if err := t.trySend(); err != nil {
		return 0, err
	}
	if len(t.unsent) == 0 {
		n, s.sealed = s.sealed, 0
	}
	return n, nil
}

// Write writes all of p, unless it fails. Bytes that TryWrite has already sealed are not
// sealed again.
func (s *secureConn) Write(p []byte) (int, error) {
	before := min(s.sealed, len(p))
	s.sealed = 0
	if err := s.turn.flush(); err != nil {
		return 0, err
	}
	if before == len(p) {
		return before, nil
	}
	n, err := s.Conn.Write(p[before:])
	return before + n, err
}

// sendKept writes what tryFill kept, so that none is left for the next request, whose
// body may be read by another goroutine than the one that writes.
func (s *secureConn) sendKept() error {
	if len(s.turn.unsent) == 0 {
		return nil
	}
	s.turn.watched.ArmWrite()
	return s.turn.flush()
}

// send writes records. If it must not wait, it keeps what the socket does not take.
func (t *turnConn) send(p []byte) (n int, err error) {
	if !t.noWait {
		if err := t.flush(); err != nil {
			return 0, err
		}
		return t.Conn.Write(p)
	}
	if len(t.unsent) == 0 {
		if n, err = t.watched.TryWrite(p); err != nil {
			return n, err
		}
	}
	t.unsent = append(t.unsent, p[n:]...)
	return len(p), nil
}

// trySend writes what the socket takes of the kept bytes.
func (t *turnConn) trySend() error {
	n, err := t.watched.TryWrite(t.unsent)
	if t.unsent = t.unsent[n:]; len(t.unsent) == 0 {
		t.unsent = nil
	}
	return err
}

// flush writes all kept bytes.
func (t *turnConn) flush() error {
	if len(t.unsent) == 0 {
		return nil
	}
	rest := t.unsent
	t.unsent = nil
	_, err := t.Conn.Write(rest)
	return err
}
