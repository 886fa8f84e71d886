package front

import "time"

// A wire is a Conn as fasthttp sees it, which reads it, but gets no more than the heads
// of requests, and writes to it, but nothing comes of that: its response writer drops
// or rewrites header fields (Date), cannot frame by the connection's end, holds back a
// body of declared length, and needs one more write for a stream's last chunk. Answers
// are written by the Conn, and what fasthttp then sends, always in exactly one write (a
// write deadline makes it flush after every response), is swallowed. In return the
// connection stays in fasthttp's hands for the next request.
type wire Conn

// Read gives fasthttp the heads of requests and nothing else. Bodies are for the
// handler (Body.Read): so fasthttp has no use for its own buffer, which must be as
// large as the largest head, while a handler runs.
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

// nextHead finds out how much of a head is here, and waits while nothing is.
func (c *wire) nextHead() (err error) {
	defer c.recoverHead(&err)
	if err := c.shakeHands(); err != nil {
		return err
	}
	if err := (*clientBody)(c).skip(); err != nil {
		return err
	}
	for { // an empty line is no request, and leaves as much time for one as before
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
		c.Head.release()
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

// rest lets the connection make room for another while it waits for a request. A
// TLS client has a second for its first one once it has shaken hands; before that
// it has it from its acceptance, as it has without TLS.
func (c *wire) rest() {
	_, secure := c.Conn.(*secureConn)
	switch {
	case c.state.spoke:
		c.watched.Rest(0)
	case secure:
		c.watched.Rest(time.Second)
	}
}

// Write is fasthttp's way to the client. What the handler answered is out.
func (c *wire) Write(p []byte) (int, error) { return len(p), nil }

// SetWriteDeadline keeps fasthttp's deadlines off the socket: how long a client
// may take nothing is for hangup.Listener, which sees what it takes.
func (c *wire) SetWriteDeadline(time.Time) error { return nil }

// Close closes the connection, unless it is lent: then it is fasthttp that lets go.
func (c *wire) Close() error {
	if c.lent.Load() {
		return nil
	}
	return c.Conn.Close()
}
