package gate

import (
	"time"

	"github.com/usher-sidecar/usher/envelope"
)

// Create opens a session with the ticket that was judged, and spends the ticket. A
// session takes no slot, and no other request waits for its number, whether or not
// there is room for the session. Errors: ErrSessionsFull, ErrSessionsClosed.
func (p *Pass) Create(terms Terms, ticket *envelope.Ticket) (s *Session, id string, err error) {
	g := p.gate
	reserved := p.account.Ticket.Reserved
	if reserved {
		passOver(p)
	}
	if s, id, err = g.c.Sessions.Open(terms, ticket, time.Now()); err != nil {
		return nil, "", err
	}
	p.Commit()
	if reserved && g.c.Numbers != nil {
		g.c.Numbers.Ran(ticket.Reqnum)
	}
	return s, id, nil
}

// InSession reports whether the request is in a session, so that its ticket,
// although spent, is good for further requests.
func (p *Pass) InSession() bool { return p.session != nil }
