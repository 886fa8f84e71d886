package engine

import (
	"fmt"
	"time"

	"github.com/usher-sidecar/usher/config/preset"
)

const (
	// settling is how long a change is given to show in the server's figures, and
	// how long some must have waited there before that counts.
	settling = time.Second
	// crowdedLooks is how many times in a row some must have been seen waiting.
	crowdedLooks = 2
	// firstPatience is how long the slots stay at what the server was seen to run
	// at most before more are tried; it doubles with each try in vain, up to
	// mostPatience. A try costs some seconds with requests waiting there.
	firstPatience = 2 * time.Minute
	mostPatience  = 16 * time.Minute
	// share of what the server runs: as many may wait there without being a queue,
	// since they come between two of its steps; and as many more are tried.
	share = 16
)

// A Load is what is sent to the server, and what waits here to be sent.
type Load struct {
	InFlight int // requests that have a slot
	Queued   int // requests that wait for one
}

// A look is the server's figures and the load at about the same moment, in time
// since any fixed one.
type look struct {
	Figures
	Load
	at time.Duration
}

// slots follow what a model server can run, so that the backlog waits here, where
// it is ordered and bounded. They grow while all are taken, requests wait here and
// the server has none waiting: twofold until it has some, and then they shrink to
// what it runs. From there on a few more are tried now and then. It is pure. Make
// it with newSlots.
type slots struct {
	n      int
	reason string

	stated   int // the server's own number, which is never exceeded; 0: it states none
	ceiling  int // what it ran when it last had some waiting; 0: not known
	changed  time.Duration
	crowded  int           // looks in a row that saw some waiting
	since    time.Duration // of the first of them
	ran      int           // the most that ran in any of them
	patience time.Duration
	tryAt    time.Duration // not beyond the ceiling before that
	base     int           // what it ran before more were tried
	trying   bool
}

func newSlots() slots {
	return slots{n: preset.StartSlots, reason: fmt.Sprintf("starts at %d", preset.StartSlots), patience: firstPatience, changed: -settling}
}

// state takes the server's own word.
func (s *slots) state(n int) (changed bool) {
	n = min(max(n, preset.MinSlots), preset.MaxSlots)
	if n == s.stated {
		return false
	}
	before := s.n
	*s = slots{n: n, stated: n, patience: firstPatience, changed: -settling, reason: fmt.Sprintf("the model server states %d", n)}
	return n != before
}

// unknown gives up on a server that tells nothing.
func (s *slots) unknown(why string) (changed bool) {
	if s.stated > 0 || s.n == preset.DefaultSlots {
		return false
	}
	s.n, s.reason = preset.DefaultSlots, fmt.Sprintf("%d, since the model server tells nothing of its load: %s", preset.DefaultSlots, why)
	return true
}

// renew forgets what the server ran: it may be another now.
func (s *slots) renew() {
	s.ceiling, s.trying, s.crowded, s.patience = 0, false, 0, firstPatience
}

// step takes a look and makes at most one change.
func (s *slots) step(l look) (changed bool) {
	before := s.n
	queue := l.Waiting > l.Running/share
	full := l.InFlight >= s.n && l.Queued > 0
	switch {
	case !queue || l.InFlight > s.n: // or those above the new number are still leaving
		s.crowded = 0
	default:
		if s.crowded == 0 {
			s.since, s.ran = l.at, 0
		}
		s.crowded++
		s.ran = max(s.ran, l.Running)
	}
	switch settled := l.at-s.changed >= settling; {
	case s.crowded >= crowdedLooks && l.at-s.since >= settling:
		s.shrink(l)
	case s.trying && full && settled:
		s.judge(l)
	case !queue && full && settled:
		s.grow(l)
	}
	if s.n == before {
		return false
	}
	s.changed, s.crowded = l.at, 0
	return true
}

// shrink goes back to what the server ran, at the most, while some waited: a look
// may fall between one that ended and the next that begins. Where that is no less, since one
// request is several to it or others send there too, it goes back by the share of
// those that wait.
func (s *slots) shrink(l look) {
	n := s.ran
	if n >= s.n {
		if l.InFlight == 0 {
			return
		}
		n = s.n * s.ran / (s.ran + l.Waiting)
	}
	s.settle(max(n, preset.MinSlots), l.at)
	s.reason = fmt.Sprintf("%d, as many as the model server ran while it had %d waiting", s.n, l.Waiting)
}

// settle stays at n for a while.
func (s *slots) settle(n int, now time.Duration) {
	if s.trying {
		s.patience = min(2*s.patience, mostPatience)
	}
	s.n, s.ceiling, s.tryAt, s.trying = n, n, now+s.patience, false
}

// judge ends a try: if the server runs more for it, there may be room for more
// still.
func (s *slots) judge(l look) {
	if 2*(l.Running-s.base) >= s.n-s.ceiling {
		s.trying, s.ceiling, s.patience = false, 0, firstPatience
		return
	}
	tried := s.n
	s.settle(s.ceiling, l.at)
	s.reason = fmt.Sprintf("%d: with %d the model server ran no more", s.n, tried)
}

// grow takes more slots, if it is time.
func (s *slots) grow(l look) {
	most := preset.MaxSlots
	if s.stated > 0 {
		most = s.stated
	}
	n := 2 * s.n
	switch {
	case s.ceiling > 0 && l.at < s.tryAt:
		return
	case s.ceiling > 0:
		n = s.n + max(1, s.n/share)
		s.trying, s.base = s.n < most, l.Running
	}
	if n = min(n, most); n == s.n {
		return
	}
	s.n = n
	s.reason = fmt.Sprintf("%d, since all were taken, requests waited here, and the model server had none waiting", s.n)
}

// seeking reports whether a change may be near, after a look.
func (s *slots) seeking(l look) bool {
	full := l.InFlight >= s.n && l.Queued > 0
	return s.crowded > 0 || s.trying || s.changed == l.at || full && s.ceiling == 0 && (s.stated == 0 || s.n < s.stated)
}
