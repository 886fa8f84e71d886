package chaos

import (
	"fmt"
	"strings"
	"sync"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// A ticket is a signed ticket with the number of the key that signed it.
type ticket struct {
	autoscaler.Ticket
	key int
}

// An id identifies a request. It travels as X-Request-Id, so that the model server
// knows from the head alone which request has begun.
type id struct {
	key    int
	reqnum int64
	index  int // of the plan
	copy   int // which of several requests with this ticket
}

func (i id) String() string { return fmt.Sprintf("k%d.n%d.i%d.c%d", i.key, i.reqnum, i.index, i.copy) }

func parseID(s string) (i id, err error) {
	_, err = fmt.Sscanf(s, "k%d.n%d.i%d.c%d", &i.key, &i.reqnum, &i.index, &i.copy)
	if err == nil && i.String() != s {
		err = fmt.Errorf("id %q", s)
	}
	return i, err
}

// A ledger is the oracle: it compares what the model server saw with what was allowed
// to reach it.
type ledger struct {
	mu      sync.Mutex
	seen    map[string]string // ticket → id of the request that brought it
	ids     map[string]bool   // seen by the model server
	refused map[string]string // id → why it was refused before it was sent
	tickets map[string]ticket // issued lately, by name
	recent  []ticket          // seen lately, the oldest first

	sessions map[string]int  // ticket that opens a session → number of calls at its end
	inside   map[string]bool // ids of requests that may come in a session
}

// ledgerRecent is the number of seen tickets kept for replays.
const ledgerRecent = 512

func newLedger() *ledger {
	return &ledger{
		seen: map[string]string{}, ids: map[string]bool{}, refused: map[string]string{}, tickets: map[string]ticket{},
		sessions: map[string]int{}, inside: map[string]bool{},
	}
}

func (i id) ticket() string { return fmt.Sprintf("k%d.n%d", i.key, i.reqnum) }

func (t ticket) name() string { return fmt.Sprintf("k%d.n%d", t.key, t.Reqnum) }

// issued records an honest ticket.
func (l *ledger) issued(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets[t.name()] = t
}

// arrived records that the model server has read the head of a request. It returns an
// error if that must not have happened.
func (l *ledger) arrived(i id) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, self := i.ticket(), i.String()
	if _, ok := l.sessions[name]; ok {
		return l.arrivedIn(i)
	}
	first, twice := l.seen[name]
	l.seen[name], l.ids[self] = self, true
	if twice {
		return fmt.Errorf("no ticket reaches the model server twice: %s came by %s and by %s", name, first, self)
	}
	t, ok := l.tickets[name]
	if !ok {
		return fmt.Errorf("no unverified request reaches the model server: %s was never issued", self)
	}
	delete(l.tickets, name)
	l.recent = append(l.recent, t)
	if len(l.recent) > ledgerRecent {
		l.recent = append([]ticket(nil), l.recent[ledgerRecent/2:]...)
	}
	return nil
}

// refuse records that a request was refused before it was sent.
func (l *ledger) refuse(i id, code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[i.String()] = code
}

// saw reports whether a ticket has reached the model server.
func (l *ledger) saw(t ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.seen[t.name()]
	return ok
}

// spent returns up to n tickets that the model server saw, the latest last.
func (l *ledger) spent(n int) []ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ticket(nil), l.recent[max(0, len(l.recent)-n):]...)
}

// count returns how many requests the model server saw.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// audit compares both sides at the end and lists what does not agree.
func (l *ledger) audit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var faults []string
	for i, code := range l.refused {
		if l.ids[i] {
			faults = append(faults, i+" ("+code+")")
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("no refused request reaches the model server: %s", strings.Join(faults, ", "))
	}
	return nil
}
