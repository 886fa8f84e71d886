package chaos

import (
	"fmt"
	"strings"
	"sync"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// A ticket is a signed ticket with the key that signed it, by its place in the
// order of the keys.
type ticket struct {
	autoscaler.Ticket
	key int
}

// A request's id travels as X-Request-Id, so that the model server knows from
// the head alone whose request it has begun to get.
type id struct {
	key    int
	reqnum int64
	index  int // of the plan
	copy   int // which of several with this ticket
}

func (i id) String() string { return fmt.Sprintf("k%d.n%d.i%d.c%d", i.key, i.reqnum, i.index, i.copy) }

func parseID(s string) (i id, err error) {
	_, err = fmt.Sscanf(s, "k%d.n%d.i%d.c%d", &i.key, &i.reqnum, &i.index, &i.copy)
	if err == nil && i.String() != s {
		err = fmt.Errorf("id %q", s)
	}
	return i, err
}

// A ledger is the oracle: what the model server saw, against what was allowed
// to reach it.
type ledger struct {
	mu      sync.Mutex
	seen    map[string]string // ticket → the id of the request that brought it
	ids     map[string]bool   // that the model server saw
	refused map[string]string // id → why it was refused before it was sent
	tickets map[string]ticket // that were issued lately, by name
	recent  []ticket          // that were seen, the oldest first

	sessions map[string]int  // ticket that opens one → how often its end was called
	inside   map[string]bool // ids of requests that may come in one
}

// ledgerRecent is how many seen tickets are kept for replays.
const ledgerRecent = 512

func newLedger() *ledger {
	return &ledger{
		seen: map[string]string{}, ids: map[string]bool{}, refused: map[string]string{}, tickets: map[string]ticket{},
		sessions: map[string]int{}, inside: map[string]bool{},
	}
}

func (i id) ticket() string { return fmt.Sprintf("k%d.n%d", i.key, i.reqnum) }

func (t ticket) name() string { return fmt.Sprintf("k%d.n%d", t.key, t.Reqnum) }

// issued notes an honest ticket.
func (l *ledger) issued(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets[t.name()] = t
}

// arrived notes that the model server has read the head of a request; it
// returns what is wrong with that.
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

// refuse notes that a request was refused before it was sent.
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

// spent returns up to n tickets that were seen, the latest last.
func (l *ledger) spent(n int) []ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ticket(nil), l.recent[max(0, len(l.recent)-n):]...)
}

// count returns how many requests were seen.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// audit compares the two sides once all is over, and lists what does not fit.
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
