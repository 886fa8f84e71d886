package gate

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// ticketOf makes distinct tickets.
func ticketOf(n int) *envelope.Ticket {
	cost, _ := crypto.ParseCost([]byte("256.0"))
	return &envelope.Ticket{
		Message:   crypto.Message{Cost: cost, Endpoint: "e", Reqnum: int64(n), URL: "http://w"},
		Signature: fmt.Appendf(nil, "signature %d", n),
	}
}

// A guest is a request in a session.
type guest struct{ told, forced int }

func (g *guest) SessionEnded() { g.told++ }

func (g *guest) SessionOverdue() { g.forced++ }

// A wake records ended sessions, and calls Rest for them at once.
type wake struct {
	mu     sync.Mutex
	causes map[*Session]Cause
	cut    map[*Session]int
}

func newWake() *wake { return &wake{causes: map[*Session]Cause{}, cut: map[*Session]int{}} }

func (w *wake) ended(s *Session, c Cause, cut int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.causes[s], w.cut[s] = c, cut
	s.Rest()
}

func (w *wake) seen() map[*Session]Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.causes)
}

func openOne(t require.TestingT, all *Sessions, n int, lifetime time.Duration, now time.Time) (*Session, string) {
	s, id, err := all.Open(Terms{Lifetime: lifetime}, ticketOf(n), now)
	require.NoError(t, err)
	return s, id
}

// An id has 128 random bits or more, and no two are the same.
func TestSessionIDs(t *testing.T) {
	all, seen, ones := NewSessions(4096, newWake().ended), map[string]bool{}, [144]int{}
	for n := range 4096 {
		_, id := openOne(t, all, n, time.Minute, time.Now())
		raw, err := base64.RawURLEncoding.DecodeString(id)
		require.NoError(t, err)
		require.Len(t, raw, len(ones)/8)
		require.False(t, seen[id])
		seen[id] = true
		for bit := range ones {
			ones[bit] += int(raw[bit/8] >> (bit % 8) & 1)
		}
	}
	for bit, n := range ones { // 2048 ± 32 each; a bit that is stuck has 0 or 4096
		require.InDelta(t, 2048, n, 320, "bit %d", bit)
	}
}

// Tickets that differ in any compared field have different marks.
func TestSessionTickets(t *testing.T) {
	now := time.Now()
	all := NewSessions(1, newWake().ended)
	_, id := openOne(t, all, 1, time.Minute, now)
	for name, change := range map[string]func(*envelope.Ticket){
		"endpoint": func(t *envelope.Ticket) { t.Endpoint = "f" }, "url": func(t *envelope.Ticket) { t.URL = "http://v" },
		"signature": func(t *envelope.Ticket) { t.Signature = []byte("signature 2") }, "no signature": func(t *envelope.Ticket) { t.Signature = nil },
		"reqnum":   func(t *envelope.Ticket) { t.Reqnum = 2 },
		"cost":     func(t *envelope.Ticket) { t.Cost, _ = crypto.ParseCost([]byte("257")) },
		"boundary": func(t *envelope.Ticket) { t.Endpoint, t.URL = "eh", "ttp://w" },
		"nothing":  func(t *envelope.Ticket) { *t = envelope.Ticket{} },
	} {
		other := ticketOf(1)
		change(other)
		_, _, err := all.Find([]byte(id), other, now)
		require.ErrorIs(t, err, ErrSessionUnknown, name)
		_, err = all.Enter([]byte(id), other, &guest{}, now)
		require.ErrorIs(t, err, ErrSessionUnknown, name)
		_, err = all.End([]byte(id), other, now)
		require.ErrorIs(t, err, ErrSessionUnknown, name)
	}
	same := ticketOf(1)
	same.Cost, _ = crypto.ParseCost([]byte("2.56e2"))
	_, _, err := all.Find([]byte(id), same, now)
	require.NoError(t, err)
}

// An unknown id, an ended session and a wrong ticket cost the same work.
func TestSessionNoOracle(t *testing.T) {
	now := time.Now()
	all := NewSessions(8, newWake().ended)
	_, id := openOne(t, all, 1, time.Minute, now)
	_, over := openOne(t, all, 2, time.Minute, now)
	_, err := all.End([]byte(over), ticketOf(2), now)
	require.NoError(t, err)
	first, second := ticketOf(1), ticketOf(2)
	work := func(id string, ticket *envelope.Ticket) float64 {
		name := []byte(id)
		return testing.AllocsPerRun(100, func() {
			_, _, err = all.Find(name, ticket, now)
			require.ErrorIs(t, err, ErrSessionUnknown)
		})
	}
	unknown := work("nobody's", first)
	require.Equal(t, unknown, work(over, second))
	require.Equal(t, unknown, work(id, second))
}

// Sessions expire on time, whichever comes first, and a request moves its session's
// expiry on by the lifetime from what it was.
func TestSessionsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWake()
		all := NewSessions(8, w.ended)
		ctx, cancel := context.WithCancel(t.Context())
		go all.Run(ctx)
		begun := time.Now()
		long, _ := openOne(t, all, 1, 50*time.Second, begun)
		short, id := openOne(t, all, 2, 10*time.Second, begun)
		g := &guest{}
		time.Sleep(9 * time.Second)
		_, err := all.Enter([]byte(id), ticketOf(2), g, time.Now())
		require.NoError(t, err)
		_, expires, err := all.Find([]byte(id), ticketOf(2), time.Now())
		require.NoError(t, err)
		require.Equal(t, 20*time.Second, expires.Sub(begun))
		time.Sleep(11*time.Second - time.Nanosecond)
		synctest.Wait()
		require.Empty(t, w.seen())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, map[*Session]Cause{short: Expired}, w.seen())
		require.Equal(t, 1, w.cut[short])
		require.Equal(t, 1, g.told)
		short.Force()
		require.Equal(t, 1, g.forced)
		short.Leave(g)
		short.Force()
		require.Equal(t, 1, g.forced, "it has left")
		<-short.Idle()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, map[*Session]Cause{short: Expired, long: Expired}, w.seen())
		cancel()
	})
}

// An expiry that is moved on again and again stays a valid time.
func TestSessionExpiryIsBounded(t *testing.T) {
	now := time.Now()
	all := NewSessions(1, newWake().ended)
	s, id := openOne(t, all, 1, envelope.MaxLifetime, now)
	for range 200_000 {
		_, err := all.Enter([]byte(id), ticketOf(1), &guest{}, now)
		require.NoError(t, err)
		clear(s.inside)
	}
	_, expires, err := all.Find([]byte(id), ticketOf(1), now)
	require.NoError(t, err)
	require.Equal(t, maxLead, expires.Sub(now))
}
