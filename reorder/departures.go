package reorder

import "time"

// maxStall bounds how long an admitted request waits for the one before it to be
// sent: far longer than sending takes, and too short to notice.
const maxStall = 5 * time.Millisecond

// mostStalls is how many may stall before those behind stop waiting for anyone:
// then not one request is slow, but the connection to the model server.
const mostStalls = 8

// departures wakes requests that were admitted together one by one, each when the
// one before it has been sent (Slot.Sent). Woken all at once they would race to the
// model server, and Go's scheduler runs the last one woken first: of ten requests
// held behind one gap, three quarters overtook another.
//
// A request that is admitted alone does not come here, unless others are still
// departing. Nobody is waited for longer than maxStall; a request that takes longer
// is passed over, and only that one is out of order.
type departures struct {
	behind list          // admitted, not yet woken
	turn   uint64        // counts turns; 0 is no turn
	out    bool          // the request whose turn it is has not been sent yet
	until  time.Duration // when it is passed over
	stalls int           // since behind was last empty
}

// idle reports whether nobody is departing.
func (d *departures) idle() bool { return !d.out && d.behind.first == nil }

// begin gives the turn to a request that goes now.
func (d *departures) begin(now time.Duration) (turn uint64) {
	d.turn++
	d.out, d.until = true, now+maxStall
	return d.turn
}

// sent ends a turn, unless that is already over.
func (d *departures) sent(turn uint64) {
	if turn == d.turn {
		d.out = false
	}
}

// join appends the admitted ones among settled and returns the others.
func (d *departures) join(settled *waiter) (others *waiter) {
	for w := settled; w != nil; {
		next := w.nextSettled
		w.nextSettled = nil
		if w.verdict == admitted {
			d.behind.append(w)
		} else {
			w.nextSettled, others = others, w
		}
		w = next
	}
	return others
}

// next removes and returns those to wake now: one request, or all of them, in
// order, if too many have stalled.
func (d *departures) next(now time.Duration) *waiter {
	w := d.behind.first
	if w == nil || d.out && now < d.until {
		return nil
	}
	if d.out {
		d.stalls++
	}
	if d.stalls >= mostStalls {
		d.behind.first, d.out, d.stalls = nil, false, 0
		return w
	}
	if d.behind.first, w.nextSettled = w.nextSettled, nil; d.behind.first == nil {
		d.stalls = 0
	}
	w.turn = d.begin(now)
	return w
}

// wake returns the latest time at which next must be called again.
func (d *departures) wake() time.Duration {
	if d.out && d.behind.first != nil {
		return d.until
	}
	return never
}
