package network

import (
	"container/heap"
	"net/netip"
	"time"
)

// listen routes what the host sends.
func (h *host) listen() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := h.tun.Read(buffer)
		if err != nil {
			return // the lab ends
		}
		h.lab.route(h, buffer[:n])
	}
}

// route takes a packet over both links that it has to pass, each in its turn.
func (l *lab) route(from *host, packet []byte) {
	to := l.destination(packet)
	if to == nil {
		return // multicast of IPv6's
	}
	now := time.Now()
	l.pass(&from.out, now, packet, from, func(at time.Time, packet []byte) {
		l.pass(&to.in, at, packet, from, func(_ time.Time, packet []byte) { _, _ = to.tun.Write(packet) })
	})
}

// pass takes a packet over one link, and has next called at its other end.
func (l *lab) pass(k *link, now time.Time, packet []byte, from *host, next func(time.Time, []byte)) {
	through, number, fate := k.take(now, len(packet), l.draw)
	switch {
	case fate == tooLarge:
		_, _ = from.tun.Write(l.refusal(packet, k))
	case fate == lost:
	case through.Equal(now):
		k.arrived(number)
		next(now, packet)
	default:
		packet = append([]byte(nil), packet...)
		l.later(travel{through, func() { k.arrived(number); next(through, packet) }})
	}
}

func (l *lab) draw() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.Float64()
}

func (l *lab) destination(packet []byte) *host {
	var to netip.Addr
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		to = netip.AddrFrom4([4]byte(packet[16:20]))
	case len(packet) >= 40 && packet[0]>>4 == 6:
		to = netip.AddrFrom16([16]byte(packet[24:40]))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts[to]
}

// A travel is a packet under way.
type travel struct {
	due    time.Time
	arrive func()
}

// travels are a heap, the next one first.
type travels []travel

func (t travels) Len() int           { return len(t) }
func (t travels) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t travels) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *travels) Push(x any)        { *t = append(*t, x.(travel)) }
func (t *travels) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

func (l *lab) later(v travel) {
	l.mu.Lock()
	heap.Push(&l.travels, v)
	first := l.travels[0].due.Equal(v.due)
	l.mu.Unlock()
	if first {
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
}

// deliver has packets arrive when they are due.
func (l *lab) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.mu.Lock()
		wait := time.Hour
		for len(l.travels) > 0 {
			if wait = time.Until(l.travels[0].due); wait > 0 {
				break
			}
			arrive := heap.Pop(&l.travels).(travel).arrive
			l.mu.Unlock()
			arrive()
			l.mu.Lock()
			wait = time.Hour
		}
		l.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.sooner:
		case <-l.ended:
			return
		}
	}
}
