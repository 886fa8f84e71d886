package gate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/envelope"
)

// A modelled session is what the model remembers of one.
type modelled struct {
	session *Session
	id      string
	ticket  int
	expires time.Time
	inside  []*guest
	over    bool
}

// Whatever happens, in any order, sessions behave like a simple model of them: there are
// no more than allowed, they are found by their own ticket only, they end once, and each
// request in one is told once.
func TestSessionsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 6).Draw(t, "most")
		w, now := newWake(), time.Unix(1e9, 0)
		all := NewSessions(most, w.ended)
		var list []*modelled
		closed, next := false, 0
		open := func() (n int) {
			for _, m := range list {
				if !m.over {
					n++
				}
			}
			return n
		}
		end := func(m *modelled, cause Cause) {
			m.over = true
			require.Equal(t, cause, w.causes[m.session])
			require.Equal(t, len(m.inside), w.cut[m.session])
			for _, g := range m.inside {
				require.Equal(t, 1, g.told)
			}
		}
		// drawn picks a session, and a ticket that is its own or not.
		drawn := func(t *rapid.T) (m *modelled, ticket *envelope.Ticket, good bool) {
			if len(list) == 0 {
				t.Skip("none yet")
			}
			m = rapid.SampledFrom(list).Draw(t, "session")
			own := rapid.Bool().Draw(t, "own ticket")
			ticket = ticketOf(m.ticket)
			if !own {
				ticket = ticketOf(-1 - m.ticket)
			}
			return m, ticket, own && !m.over && now.Before(m.expires)
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				next++
				life := time.Duration(rapid.IntRange(1, 100).Draw(t, "lifetime")) * time.Second
				s, id, err := all.Open(Terms{Lifetime: life}, ticketOf(next), now)
				switch {
				case closed:
					require.ErrorIs(t, err, ErrSessionsClosed)
				case open() == most:
					require.ErrorIs(t, err, ErrSessionsFull)
				default:
					require.NoError(t, err)
					list = append(list, &modelled{session: s, id: id, ticket: next, expires: now.Add(life)})
				}
			},
			"enter": func(t *rapid.T) {
				m, ticket, good := drawn(t)
				g := &guest{}
				_, err := all.Enter([]byte(m.id), ticket, g, now)
				require.Equal(t, good, err == nil)
				if good {
					m.inside = append(m.inside, g)
					m.expires = m.expires.Add(m.session.Lifetime)
				}
			},
			"leave": func(t *rapid.T) {
				m, _, _ := drawn(t)
				if len(m.inside) == 0 {
					t.Skip("nobody inside")
				}
				g := m.inside[0]
				m.session.Leave(g)
				m.session.Leave(g) // does nothing
				m.inside = m.inside[1:]
				if closed && !m.over && len(m.inside) == 0 {
					end(m, Drained)
				}
			},
			"end": func(t *rapid.T) {
				m, ticket, good := drawn(t)
				_, err := all.End([]byte(m.id), ticket, now)
				require.Equal(t, good, err == nil)
				if good {
					end(m, Closed)
				}
			},
			"find": func(t *rapid.T) {
				m, ticket, good := drawn(t)
				_, expires, err := all.Find([]byte(m.id), ticket, now)
				require.Equal(t, good, err == nil)
				if good {
					require.Equal(t, m.expires, expires)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
				if !rapid.Bool().Draw(t, "late") {
					until := all.Expire(now)
					for _, m := range list {
						if !m.over && !now.Before(m.expires) {
							end(m, Expired)
						}
						require.True(t, m.over || m.expires.Sub(now) >= until)
					}
				}
			},
			"drain": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
					t.Skip("not yet")
				}
				busy := rapid.Bool().Draw(t, "busy ones too")
				if closed = true; busy {
					all.Close()
				} else {
					all.Drain()
				}
				for _, m := range list {
					if !m.over && (busy || len(m.inside) == 0) {
						end(m, Drained)
					}
				}
			},
			"": func(t *rapid.T) {
				ended := 0
				for _, m := range list {
					_, told := w.causes[m.session]
					require.Equal(t, m.over, told)
					if m.over {
						ended++
						require.Equal(t, len(m.inside) == 0, isClosed(m.session.Idle()))
					}
				}
				require.Equal(t, open(), all.Count().Open)
				require.Equal(t, len(list)-ended, open())
				require.Len(t, all.register.due, open())
				require.Equal(t, closed && open() == 0, isClosed(all.Quiet()))
				require.Len(t, all.Views(now, 2), min(2, open()))
			},
		})
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
