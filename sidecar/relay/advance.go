package relay

import "time"

// A State is where a relay is that must not wait.
type State uint8

// The states.
const (
	Starved State = iota // all that came was passed on
	Full                 // the client takes no more for now
	Busy                 // there is more to move, and it is another's turn
	Ended                // see Result
)

// atOnce is how many pieces one Advance moves, so that a stream that never pauses
// does not keep the others waiting.
const atOnce = 8

// Advance moves what can be moved without waiting: what was kept of the last piece,
// then what has come. While the client takes nothing nothing more is read, so that
// the model server is slowed down. now is the time.
func (r *Relay) Advance(now time.Time) State {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	at := func() time.Time { return now }
	for range atOnce {
		if state := r.flush(); state != Busy {
			return state
		}
		if !r.Source.Look() {
			return Starved
		}
		p, done, err := r.read(b, at)
		r.done = done
		if parts := r.frame(b, nil, p, done); parts > 0 {
			if err := r.try(b, parts); err != nil {
				r.client = err
				return Ended
			}
		}
		if err != nil {
			r.source = err
			return Ended // with what is left of the piece: see Flush
		}
	}
	if r.done && len(r.rest) == 0 {
		return Ended
	}
	return Busy
}

// flush writes what was kept, and reports Busy when the next piece may follow.
func (r *Relay) flush() State {
	if len(r.rest) > 0 {
		n, err := r.Client.TryWrite(r.rest)
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
func (r *Relay) try(b *buffer, parts int) error {
	joined := b.join[:0]
	for _, part := range b.parts[:parts] {
		joined = append(joined, part...)
	}
	clear(b.parts[:])
	n, err := r.Client.TryWrite(joined)
	if err == nil && n < len(joined) {
		r.rest = append([]byte(nil), joined[n:]...)
	}
	return err
}

// Fail ends the relay, unless its answer is whole but for what the client has yet to
// take: what is whole was not broken by what came after.
func (r *Relay) Fail(source error) {
	if !r.done && r.source == nil && r.client == nil {
		r.source = source
	}
}

// Whole reports whether the client has the whole answer: Result does not wait then.
func (r *Relay) Whole() bool {
	return r.done && len(r.rest) == 0 && r.source == nil && r.client == nil
}

// Result is how Advance ended, as Run tells it. It may wait for a client that has
// not taken the last of a whole answer.
func (r *Relay) Result() (source, client error) {
	if r.done && r.client == nil {
		r.client = r.Flush()
	}
	return r.source, r.client
}

// Flush writes what was kept of the last piece, and waits for the client. It comes
// before Break, where there is somebody to read.
func (r *Relay) Flush() error {
	if len(r.rest) == 0 {
		return nil
	}
	err := r.Client.WriteParts(nil, [][]byte{r.rest})
	r.rest = nil
	return err
}
