package front

import "time"

// A wire is a Conn as fasthttp sees it. fasthttp reads only the heads of requests from
// it, and what it writes is dropped: its response writer drops or rewrites header fields
// (Date), cannot end a body by closing the connection, holds back a body of declared
// length, and needs one more write for a stream's last chunk. The Conn writes the
// answers. What fasthttp writes after each, always in exactly one write (a write deadline
// makes it flush after every response), is dropped, and fasthttp keeps the connection for
// the next request.
type wire Conn

// Read gives fasthttp the heads of requests and nothing else. The handler reads bodies
// (Body.Read). So fasthttp's own buffer, which must be as large as the largest head, is
// not needed while a handler runs.
func (c *wire) Read(p []byte) (int, error) {
	s := &c.state
	if s.passed == 0 && s.failed == nil {
		s.failed = c.nextHead()
	}
	if s.passed == 0 {
		return 0, s.failed
	}
	n := copy(p, c.ahead.Bytes()[:s.passed])
	s.passed -= n
	c.ahead.Drop(n)
	return n, nil
}

// nextHead finds out how much of a head has arrived, and waits if nothing has.
func (c *wire) nextHead() (err error) {
	defer c.recoverHead(&err)
	if err := c.shakeHands(); err != nil {
		return err
	}
	if err := (*clientBody)(c).skip(); err != nil {
		return err
	}
	for { // an empty line is not a request, and does not extend the time for one
		if c.ahead.Empty() && (c.state.answered || !c.state.spoke) {
			c.rest()
		}
		if err := c.ahead.Fill(c.Conn); err != nil {
			return err
		}
		if c.ahead.Drop(c.guard.blank(c.ahead.Bytes())); !c.ahead.Empty() {
			break
		}
	}
	s := &c.state
	if s.whole || s.answered { // the next request begins
		c.Head.Release()
		*s = connState{spoke: true}
	}
	n, end, ok := c.guard.pass(c.ahead.Bytes())
	s.passed = n
	if n > 0 {
		s.spoke = true
		c.Head.add(c.ahead.Bytes()[:n])
	}
	if end {
		s.whole = true
		c.Head.parse()
		c.guard.begin(&c.Head)
	}
	if !ok {
		return errMalformedWire
	}
	return nil
}

// rest lets the connection be closed to make room for another while it waits for a
// request. A TLS client has a second for its first request once it has shaken hands;
// before that it has a second from when it was accepted, as without TLS.
func (c *wire) rest() {
	_, secure := c.Conn.(*secureConn)
	switch {
	case c.state.spoke:
		c.watched.Rest(0)
	case secure:
		c.watched.Rest(time.Second)
	}
}

// Write drops what fasthttp writes: the Conn has written the answer.
func (c *wire) Write(p []byte) (int, error) { return len(p), nil }

// SetWriteDeadline keeps fasthttp's deadlines off the socket: hangup.Listener bounds how
// long a client may take nothing, because it sees what the client takes.
func (c *wire) SetWriteDeadline(time.Time) error { return nil }

// Close closes the connection, unless it is lent: then fasthttp merely lets go of it.
func (c *wire) Close() error {
	if c.lent.Load() {
		return nil
	}
	return c.Conn.Close()
}
