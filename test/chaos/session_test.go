package chaos

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// mostSessions is how many sessions may be open. Clients sometimes want more.
const mostSessions = 12

// lifetime is the lifetime of a session.
const lifetime = 2 * time.Second

// A visit is a session as its client knows it.
type visit struct {
	w      *world
	l      *lane
	p      plan
	t      ticket
	id     string
	copies int
	calm   func() bool // calm since the session was opened, and neither a restart nor its lifetime has ended it
}

// session opens a session, uses it as its owner and as a thief, and ends it or lets
// it expire. It may be tried once more after its end.
func (w *world) session(l *lane, p plan) {
	calm, began := w.weather.watch(), time.Now()
	v := &visit{w: w, l: l, p: p, t: w.issue(), calm: func() bool { return calm() && time.Since(began) < lifetime }}
	if !v.open() {
		return
	}
	for n := range 1 + p.choice%4 {
		v.use(true)
		if p.choice>>(8+n)&1 == 1 {
			v.steal()
		}
	}
	// The ticket is good for nothing else.
	i := v.next()
	w.refused(i, l.do(p.ask(i, v.t)))
	switch p.choice >> 16 % 4 {
	case 0: // it expires
	case 1:
		v.endInUse()
	default:
		if o := v.ask("/session/end", v.t, v.id); o.status == 200 || v.calm() && o.calm && o.err == nil {
			if o.status != 200 {
				w.fail("a session ends when its client says so: %s got %s", v.t.name(), o.sees())
			}
			v.over()
		}
	}
}

// next returns the id for another request with the session's ticket.
func (v *visit) next() id {
	v.copies++
	return id{v.t.key, v.t.Reqnum, v.p.index, v.copies}
}

// open creates the session. The call at its end looks to the model server like a
// request of the plan.
func (v *visit) open() bool {
	w, q, i := v.w, v.p, id{v.t.key, v.t.Reqnum, v.p.index, 0}
	q.route, q.own = "/session/create", true
	w.ledger.opening(v.t)
	terms := fmt.Sprintf(`{"lifetime":%g,"on_close_route":%q,"on_close_payload":%s}`, lifetime.Seconds(), v.p.route, v.p.payload())
	o := v.l.do(compose(q, i, "", v.t.Nested(terms)))
	w.judge(v.t, i, o)
	if o.err != nil || o.status != 201 {
		if o.calm && o.err == nil && o.refusal != "queue_full" && v.current() {
			w.fail("a good ticket opens a session in calm weather: %s got %s", i, o.sees())
		}
		return false
	}
	var said struct {
		ID string `json:"session_id"`
	}
	if json.Unmarshal([]byte(o.text), &said) != nil || len(said.ID) < 22 {
		w.fail("a session has an id of 128 bits: %s got %q", i, o.text)
	}
	v.id = said.ID
	w.ledger.opened(v.t)
	w.count("session: opened")
	return true
}

// current reports whether the ticket's key is the current one, which even a restarted
// Usher knows.
func (v *visit) current() bool {
	_, place := v.w.keys.current()
	return v.t.key == place
}

// body returns the body of a request that has a ticket and names a session.
func (v *visit) body(t ticket, session string) string {
	text := t.Nested(v.p.payload())
	return strings.TrimSuffix(text, "}") + fmt.Sprintf(`,"session_id":%q}`, session)
}

// use sends a request in the session. It must reach the model server unless the
// session has ended or there was unrest.
func (v *visit) use(open bool) {
	w, i := v.w, v.next()
	if open {
		w.ledger.enters(i)
	}
	o := v.l.do(compose(v.p, i, "", v.body(v.t, v.id)))
	if !open {
		w.refused(i, o)
		return
	}
	w.judge(v.t, i, o)
	if !o.calm || !v.calm() {
		return
	}
	switch see := o.sees(); see {
	case "200":
		w.count("session: served")
	case "queue_full":
	case "upstream_broken":
		w.count(brokenOff)
	default:
		w.fail("a request in an open session is served in calm weather: %s got %s (%v)", i, see, o.err)
	}
}

// steal tries the session as somebody else: its id with another good ticket, or its
// ticket with an invented id.
func (v *visit) steal() {
	w, i := v.w, v.next()
	text := v.body(v.t, strings.Repeat("A", len(v.id)))
	other := v.t
	if v.p.choice>>20&1 == 1 {
		other = w.issue()
		text = v.body(other, v.id)
	}
	o := v.l.do(compose(v.p, i, "", text))
	w.refused(i, o)
	if o.refusal != "" && o.refusal != "session_unknown" && o.calm && v.calm() {
		w.fail("a stolen session is unknown: %s got %s", i, o.refusal)
	}
	if v.ask("/session/end", other, strings.Repeat("A", len(v.id))).status == 200 {
		w.fail("nobody ends a session that is not theirs: %s", i)
	}
}

// ask sends a request about a session to one of the session paths.
func (v *visit) ask(path string, t ticket, session string) outcome {
	q := v.p
	q.route, q.own = path, true
	return v.l.do(compose(q, v.next(), "", fmt.Sprintf(`{"session_id":%q,"session_auth":%s}`, session, t.JSON())))
}

// over tries the session after its end.
func (v *visit) over() {
	v.w.count("session: ended")
	v.use(false)
	if o := v.ask("/session/end", v.t, v.id); o.status == 200 {
		v.w.fail("a session ends once: %s did twice", v.t.name())
	}
}

// endInUse ends the session while a request in it is under way. That request is served
// whole, visibly cut, or refused because there is no such session.
func (v *visit) endInUse() {
	i := v.next()
	v.w.ledger.enters(i)
	var racing sync.WaitGroup
	racing.Go(func() {
		l := &lane{w: v.w}
		defer l.drop("close")
		o := l.do(compose(v.p, i, "", v.body(v.t, v.id)))
		v.w.count("session: in use at its end: " + o.sees())
	})
	v.ask("/session/end", v.t, v.id)
	racing.Wait()
}

// opening records that a ticket is to open a session and is not for a request.
func (l *ledger) opening(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tickets, t.name())
	l.sessions[t.name()] = 0
}

// opened records that the ticket has opened a session and is spent.
func (l *ledger) opened(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = append(l.recent, t)
}

// enters records a request that may reach the model server in a session.
func (l *ledger) enters(i id) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[i.String()] = true
}

// arrivedIn checks a request that came with the ticket of a session. Each request in
// it may come once, and so may the call at its end, which has the id of the request
// that created it. The mutex is held.
func (l *ledger) arrivedIn(i id) error {
	name, self := i.ticket(), i.String()
	switch {
	case i.copy == 0:
		if l.sessions[name]++; l.sessions[name] > 1 {
			return fmt.Errorf("what is called at a session's end is called once: %s was twice", self)
		}
		return nil // the session may have ended before its client heard of it
	case !l.inside[self]:
		return fmt.Errorf("no request of another's session reaches the model server: %s did", self)
	case l.ids[self]:
		return fmt.Errorf("no request is sent twice: %s was", self)
	}
	l.ids[self] = true
	return nil
}
