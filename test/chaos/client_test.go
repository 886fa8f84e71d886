package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// request carries out the plan for an index.
func (w *world) request(l *lane, index int) {
	p := planOf(w.seed, index)
	switch p.kind {
	case honest:
		w.honest(l, p)
	case pipelined:
		w.pipelined(l, p)
	case twins:
		w.twins(p)
	case replayed:
		w.replay(l, p)
	case forged:
		w.forge(l, p)
	case malformed:
		w.malform(p)
	case sessional:
		w.session(l, p)
	}
}

// honest sends a good ticket. The outcome may depend on the plan, but a ticket that
// was refused before it was sent, or whose client left before its request was
// complete, must still be good.
func (w *world) honest(l *lane, p plan) {
	t := w.issue()
	good := true // it cannot have been spent yet
	for try := range 4 {
		i := id{t.key, t.Reqnum, p.index, try}
		o := l.do(p.ask(i, t))
		w.judge(t, i, o)
		if good && o.refusal == "reqnum_replayed" {
			w.fail("a ticket refused before it was sent is usable again: %s is not", i)
		}
		w.fair(t, i, p, o, good)
		switch {
		case o.left && (p.leave == midHead || p.leave == midBody && p.place != inHead):
		case o.left && p.again:
			good = false
		case unsent(o):
			time.Sleep(p.pause) // as clients do
		default:
			return
		}
		p.leave = never
	}
}

// fair checks that what a good client got for a good ticket in calm weather agrees
// with what the model server did.
func (w *world) fair(t ticket, i id, p plan, o outcome, good bool) {
	if !o.calm || o.left || !good {
		return
	}
	if _, place := w.keys.current(); t.key != place {
		return // a restarted Usher knows only the current key
	}
	see := o.sees()
	w.count(judgedCalm)
	switch {
	case p.may(see):
	case see == "queue_full":
	case see == "upstream_broken":
		// A kept connection may end between the last check of it and the write.
		// world.close bounds how often.
		w.count(brokenOff)
	default:
		w.fail("a good request in calm weather is served: %s (%s, %s, %s) got %s (%v; an answer began: %v) at %s, after %d answers on its connection",
			i, p.kind, p.manner, p.fault, see, o.err, o.began, time.Now().UTC().Format(time.RFC3339Nano), o.earlier)
	}
}

// pipelined sends two requests in one write and reads two answers, in order.
func (w *world) pipelined(l *lane, p plan) {
	first, second := w.issue(), w.issue()
	a := p.ask(id{first.key, first.Reqnum, p.index, 0}, first)
	b := p.ask(id{second.key, second.Reqnum, p.index, 1}, second)
	calm, began := w.weather.watch(), time.Now()
	both := a
	both.body += b.head + b.body
	o := l.do(both)
	w.judge(first, a.id, o)
	w.fair(first, a.id, p, o, true)
	if o.err != nil || o.closes {
		return
	}
	o = l.read(b)
	o.calm = calm() && time.Since(began) < shortest
	if o.err != nil || o.closes {
		l.drop("close")
	}
	w.judge(second, b.id, o)
	w.fair(second, b.id, p, o, true)
}

// twins sends one ticket on several connections at once.
func (w *world) twins(p plan) {
	t := w.issue()
	outcomes := make([]outcome, 2+p.choice%2)
	var racing sync.WaitGroup
	for n := range outcomes {
		racing.Go(func() {
			l := &lane{w: w}
			defer l.drop("close")
			i := id{t.key, t.Reqnum, p.index, n}
			outcomes[n] = l.do(p.ask(i, t))
			w.judge(t, i, outcomes[n])
		})
	}
	racing.Wait()
	losers := 0
	for _, o := range outcomes {
		if o.refusal == "reqnum_replayed" && o.calm {
			losers++
		}
	}
	if losers == len(outcomes) {
		w.fail("of two copies that race one passes: %s did not", t.name())
	}
}

// replay sends a ticket that the model server has seen. If it gets through again, the
// ledger notices.
func (w *world) replay(l *lane, p plan) {
	spent := w.ledger.spent(ledgerRecent)
	if len(spent) == 0 {
		return
	}
	t := spent[p.choice%uint64(len(spent))]
	i := id{t.key, t.Reqnum, p.index, 0}
	w.refused(i, l.do(p.ask(i, t)))
}

// refused checks that a bad request was refused.
func (w *world) refused(i id, o outcome) {
	w.count("bad: " + o.sees())
	if o.err == nil && o.refusal == "" {
		w.fail("a bad request is refused: %s was answered %d", i, o.status)
	}
	if o.refusal != "" {
		w.ledger.refuse(i, o.refusal)
	}
}

// forge sends a ticket that no autoscaler signed for this worker.
func (w *world) forge(l *lane, p plan) {
	key, place := w.keys.current()
	claims := autoscaler.Claims{
		Cost: autoscaler.Float(256), Endpoint: endpoint, Reqnum: w.reqnum.Load() + int64(p.choice%10), URL: workerURL,
	}
	t, fields, text := key.Sign(claims), "", ""
	switch p.choice % 11 {
	case 0: // a number far ahead, which must not move the window
		t.Reqnum += 10 * window
	case 1:
		t.Cost = autoscaler.Float(1)
	case 2:
		t = w.keys.foreign.Sign(claims)
	case 3:
		claims.Endpoint = "another"
		t = key.Sign(claims)
	case 4:
		claims.URL = "https://worker.example:1"
		t = key.Sign(claims)
	case 5:
		t.Signature = ""
	case 6:
		text = t.Flat("")
		text = text[:len(text)-1] + `, "reqnum": 1, "reqnum": 2, "auth_data": {}, "auth_data": {}}`
	case 7:
		text = t.Nested(p.payload()) + "{}"
	case 8:
		text = strings.Repeat("[", 100_000)
	case 9: // two tickets in the head
		fields = strings.Repeat("Authorization: "+p.credentials(ticket{Ticket: t})+"\r\n", 2)
	case 10: // a broken ticket in the head and a good one in the body
		fields, text = "Authorization: SignedRoute e30!\r\n", t.Nested(p.payload())
	}
	i := id{place, t.Reqnum, p.index, 0}
	a := p.ask(i, ticket{Ticket: t})
	if text != "" || fields != "" {
		a = compose(p, i, fields, text)
	}
	w.refused(i, l.do(a))
}

// smuggles are heads that two parsers may read differently. %s is a whole request,
// which must not be taken for one.
var smuggles = []string{
	"POST /generate HTTP/1.1\r\nHost: u\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nX: 1\n\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n%s",
	"POST /generate HTTP/1.1\r\nHost: u\r\nContent-Length: -1\r\n\r\n%s",
	"CONNECT model:80 HTTP/1.1\r\nHost: u\r\n\r\n%s",
	"GET /generate HTTP/1.1\r\nHost: u\r\nContent-Length: 1\r\n\r\n\x00%s",
}

// malform sends a malformed request with another one hidden in it. The hidden one is
// not signed, and if it arrives, the model server knows from its id that it must not.
func (w *world) malform(p plan) {
	l := &lane{w: w}
	defer l.drop("close")
	if l.open() != nil {
		return
	}
	i := id{0, w.reqnum.Load(), p.index, 0}
	hidden := compose(p, i, "", p.payload())
	_ = l.conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(l.conn, smuggles[p.choice%uint64(len(smuggles))], hidden.head+hidden.body)
	_ = l.raw.CloseWrite()
	answer, err := io.ReadAll(io.LimitReader(l.in, 1<<20))
	w.count("malformed")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.fail("every request gets an answer or a visible cut: %s got neither", i)
	}
	if strings.Contains(string(answer), "data: for") {
		w.fail("a bad request is refused: %s was served: %.100q", i, answer)
	}
}
