package reorder

import "time"

// maxStall bounds how long an admitted request waits for the one before it to be
// sent: far longer than sending takes, and too short to be felt.
const maxStall = 5 * time.Millisecond

// mostStalls is how many may stall before those behind stop waiting for anyone:
// then it is not one who is slow, but the way to the model server.
const mostStalls = 8

// Departures let those who are admitted together go one by one, each when the
// one before it has set out (Slot.Sent). Woken all at once they would race to
// the model server, and Go's scheduler runs the last one woken first: of ten
// held behind one gap three quarters overtook another on their way.
//
// One who is admitted alone does not come here, but for what Admit does while
// others are still on their way. Nobody is waited for longer than maxStall; who
// takes longer is passed over, and only that one is out of order for it.
type departures struct {
	behind list   // admitted and not woken
	turn   uint64 // whose it is, counted; 0 is nobody's
	out    bool   // whose turn it is has not set out yet
	until  time.Duration
	stalls int // since nobody was behind
}

// idle reports whether nobody is on the way or behind.
func (d *departures) idle() bool { return !d.out && d.behind.first == nil }

// begin gives the turn to one who goes at once, with others behind.
func (d *departures) begin(now time.Duration) (turn uint64) {
	d.turn++
	d.out, d.until = true, now+maxStall
	return d.turn
}

// sent ends a turn. It may be over already.
func (d *departures) sent(turn uint64) {
	if turn == d.turn {
		d.out = false
	}
}

// join puts those who were admitted at the end and returns the others, who have
// nowhere to go.
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

// next takes out who is to be woken now: the next one, or all of them, in their
// order, if too many before have taken too long.
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

// wake returns when next must be called at the latest.
func (d *departures) wake() time.Duration {
	if d.out && d.behind.first != nil {
		return d.until
	}
	return never
}
