package network

import (
	"sync"
	"time"
)

// A condition is what a link does to packets. The zero value forwards them all.
type condition struct {
	loss          float64       // this share is dropped
	delay, jitter time.Duration // each takes delay ± jitter, evenly spread, so that they overtake one another
	hasty         float64       // this share takes no delay
	rate          int           // bits a second; 0: no limit
	mtu           int           // the largest packet; 0: no limit
	silent        bool          // what is too large is dropped without the ICMP message that says so
	cut           bool          // nothing passes
}

// queue bounds how much waits at a link with a rate; the rest is dropped.
const queue = 64 << 10

// A link is one direction of a cable.
type link struct {
	mu     sync.Mutex
	does   condition
	free   time.Time // when a link with a rate has sent all that waits
	sent   int       // packets; each has its number
	newest int       // the highest that has arrived
	counts counts
}

// counts say what became of packets.
type counts struct{ passed, lost, overtaken, tooLarge int }

func (l *link) set(c condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.does = c
}

func (l *link) counted() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// take decides when a packet arrives, if at all.
func (l *link) take(now time.Time, size int, draw func() float64) (through time.Time, number int, fate fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.does
	l.sent++
	through = now
	switch {
	case c.cut || c.loss > 0 && draw() < c.loss:
		l.counts.lost++
		return now, l.sent, lost
	case c.mtu > 0 && size > c.mtu:
		l.counts.tooLarge++
		if c.silent {
			return now, l.sent, lost
		}
		return now, l.sent, tooLarge
	}
	if c.rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		if l.free.Sub(now) > time.Duration(queue*8)*time.Second/time.Duration(c.rate) {
			l.counts.lost++
			return now, l.sent, lost
		}
		l.free = l.free.Add(time.Duration(size*8) * time.Second / time.Duration(c.rate))
		through = l.free
	}
	if c.delay > 0 && (c.hasty == 0 || draw() >= c.hasty) {
		through = through.Add(c.delay + time.Duration((2*draw()-1)*float64(c.jitter)))
	}
	return through, l.sent, passes
}

// arrived counts a packet that has arrived.
func (l *link) arrived(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.passed++
	if number < l.newest {
		l.counts.overtaken++
	}
	l.newest = max(l.newest, number)
}

type fate int

const (
	passes fate = iota
	lost
	tooLarge
)
