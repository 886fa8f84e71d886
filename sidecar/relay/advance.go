package relay

import "time"

// A State is what a relay that must not wait needs next.
type State uint8

// The states.
const (
	Starved State = iota // everything that has arrived was passed on
	Full                 // the client takes no more for now
	Busy                 // there may be more to move, but others come first
	Ended                // see Result
)

// progress is what Advance keeps between calls.
type progress struct {
	rest           []byte // of the last write, which the client has not taken
	done           bool   // the body was read to its true end
	source, client error  // the errors that ended it
}

// Fail ends the relay with an error of the source. It does nothing if the body has been
// read to its true end, even if the client has not taken all of it yet.
func (p *progress) Fail(source error) {
	if !p.done && p.source == nil && p.client == nil {
		p.source = source
	}
}

// Whole reports whether the client has taken the whole answer, so that Result does not
// wait.
func (p *progress) Whole() bool {
	return p.done && len(p.rest) == 0 && p.source == nil && p.client == nil
}

// atOnce is how many pieces one Advance moves, so that a stream that never pauses does
// not keep the others waiting.
const atOnce = 8

// Advance moves what can be moved without waiting: the rest of the last piece, then
// whatever has arrived. While the client takes nothing, nothing more is read, so that the
// model server is slowed down.
func (r *Relay) Advance(to Taker, now time.Time) State {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	at := func() time.Time { return now }
	for range atOnce {
		if state := r.flush(to); state != Busy {
			return state
		}
		if !r.Source.Look() {
			return Starved
		}
		p, done, err := r.read(b, at)
		r.done = done
		if parts := b.frame(r.Framing, nil, p, done); parts > 0 {
			if err := r.try(to, b, parts); err != nil {
				r.client = err
				return Ended
			}
		}
		if err != nil {
			r.source = err
			return Ended // r.rest may still hold part of the piece: see Flush
		}
	}
	if r.done && len(r.rest) == 0 {
		return Ended
	}
	return Busy
}

// flush writes the rest of the last piece without waiting, and returns Busy if the next
// piece may follow.
func (r *Relay) flush(to Taker) State {
	if len(r.rest) > 0 {
		n, err := to.TryWrite(r.rest)
		if err != nil {
			r.client = err
			return Ended
		}
		if r.rest = r.rest[n:]; len(r.rest) > 0 {
			return Full
		}
		r.rest = nil
	}
	if r.done {
		return Ended
	}
	return Busy
}

// try writes what the client takes at once, and keeps the rest.
func (r *Relay) try(to Taker, b *buffer, parts int) error {
	joined := b.join[:0]
	for _, part := range b.parts[:parts] {
		joined = append(joined, part...)
	}
	clear(b.parts[:])
	n, err := to.TryWrite(joined)
	if err == nil && n < len(joined) {
		r.rest = append([]byte(nil), joined[n:]...)
	}
	return err
}

// Result returns how Advance ended, like the results of Run. If the answer is complete
// but the client has not taken the end of it, Result waits for the client.
func (r *Relay) Result() (source, client error) {
	if r.done && r.client == nil {
		r.client = r.Flush()
	}
	return r.source, r.client
}

// Flush writes the rest of the last piece, and waits for the client. Call it before Break
// if the client is still there.
func (r *Relay) Flush() error {
	if len(r.rest) == 0 {
		return nil
	}
	err := r.Client.WriteParts(nil, [][]byte{r.rest})
	r.rest = nil
	return err
}
