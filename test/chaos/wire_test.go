package chaos

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// A lane is one client's kept connection.
type lane struct {
	w    *world
	raw  *net.TCPConn
	conn net.Conn // raw, or TLS on it
	in   *bufio.Reader

	weather int64 // when it connected
	answers int   // since then
	resumes bool  // the next connect resumes a TLS session
}

func (l *lane) open() error {
	l.weather, l.answers = l.w.weather.changes.Load(), 0
	c, err := net.DialTimeout("tcp", l.w.usher.public, patience)
	if err != nil {
		return err
	}
	l.raw, l.conn = c.(*net.TCPConn), c
	if l.w.phase.tls {
		l.conn = tls.Client(c, l.w.certificates.client(l.resumes))
	}
	l.in = bufio.NewReader(l.conn)
	return nil
}

// drop ends the connection: close, reset or half-close.
func (l *lane) drop(exit string) {
	if l.conn == nil {
		return
	}
	switch exit {
	case "half-close":
		_ = l.raw.CloseWrite()
		_ = l.raw.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, l.raw); errors.Is(err, os.ErrDeadlineExceeded) {
			l.w.fail("a connection that its client has ended is ended: %v is not", l.raw.LocalAddr())
		}
	case "reset":
		_ = l.raw.SetLinger(0)
	}
	_ = l.raw.Close()
	l.raw, l.conn, l.in = nil, nil, nil
}

// An attempt is one request on the wire.
type attempt struct {
	plan plan
	id   id
	head string // with the empty line
	body string
}

// ask composes the request of a plan with a ticket.
func (p plan) ask(i id, t ticket) attempt {
	switch p.place {
	case inHead:
		return compose(p, i, "Authorization: "+p.credentials(t)+"\r\n", p.payload())
	case nested:
		return compose(p, i, "", t.Nested(p.payload()))
	}
	payload := p.payload()
	return compose(p, i, "", t.Flat(payload[1:len(payload)-1]))
}

// credentials returns the ticket as it stands in the head, in one of its two forms.
func (p plan) credentials(t ticket) string {
	token := base64.RawURLEncoding.EncodeToString([]byte(t.JSON()))
	if p.choice>>33&1 == 1 {
		return "Bearer sr." + token
	}
	return "SignedRoute " + token
}

// compose composes the request of a plan. fields are lines of its head.
func compose(p plan, i id, fields, text string) attempt {
	version := "HTTP/1.1"
	if p.manner == http10 {
		version = "HTTP/1.0"
	}
	target := p.route
	if p.secret {
		target += "?api_key=customer"
		if fields == "" {
			fields = "Authorization: Bearer customer\r\n"
		}
	}
	if p.expect {
		fields += "Expect: 100-continue\r\n"
	}
	framing := "Content-Length: " + strconv.Itoa(len(text))
	if p.manner == chunked {
		framing = "Transfer-Encoding: chunked"
		cut := len(text) / 3
		text = fmt.Sprintf("%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", cut, text[:cut], len(text)-cut, text[cut:])
	}
	head := "POST " + target + " " + version + "\r\nHost: usher\r\nX-Request-Id: " + i.String() + "\r\n" +
		fields + framing + "\r\n\r\n"
	return attempt{plan: p, id: i, head: head, body: text}
}

// An outcome is what a client saw.
type outcome struct {
	status  int
	refusal string // code, if Usher refused
	closes  bool
	err     error  // there was no answer, or not a whole one
	began   bool   // part of an answer came
	earlier int    // answers that came on the connection before
	text    string // body of an answer of Usher's own
	left    bool   // the client left, as planned
	calm    bool   // nothing was done to the world in the meantime, and no time-out is to blame
}

// sees names the outcome in the words of fault.sees.
func (o outcome) sees() string {
	switch {
	case o.err != nil:
		return "cut"
	case o.refusal != "":
		return o.refusal
	}
	return strconv.Itoa(o.status)
}

// shortest is shorter than every time-out that Usher runs with here.
const shortest = 1500 * time.Millisecond

// do sends the request and reads its answer, as planned.
func (l *lane) do(a attempt) (o outcome) {
	calm, began := l.w.weather.watch(), time.Now()
	defer func() {
		o.calm = calm() && time.Since(began) < shortest
		if o.err != nil || o.closes || o.left {
			l.drop("close")
		}
	}()
	// A connection from before a storm may have been to an Usher that is dead now.
	if a.plan.fresh || l.weather != l.w.weather.changes.Load() {
		l.drop(a.plan.exit)
	}
	if l.conn == nil {
		l.resumes = a.plan.choice>>32&1 == 1
		if o.err = l.open(); o.err != nil {
			// This does not count as a request of the campaign: wait until Usher is
			// back.
			l.w.count("no connection")
			_ = within(shortest, "usher is back", l.w.usher.serving.Load)
			return o
		}
	}
	_ = l.conn.SetDeadline(time.Now().Add(2 * patience))
	if o.left = l.write(a); o.left {
		l.drop(a.plan.exit)
		return o
	}
	return l.read(a)
}

// write sends the request and reports whether the client is to leave now. Errors show
// when the answer is read.
func (l *lane) write(a attempt) (left bool) {
	text := a.head + a.body
	switch a.plan.leave {
	case midHead:
		text = a.head[:len(a.head)*2/3]
	case midBody:
		text = a.head + a.body[:len(a.body)*2/3]
	}
	if a.plan.manner == dripped {
		for step := max(1, len(text)/6); len(text) > step; text = text[step:] {
			_, _ = io.WriteString(l.conn, text[:step])
			time.Sleep(a.plan.pause / 4)
		}
	}
	_, _ = io.WriteString(l.conn, text)
	if a.plan.leave == waiting {
		time.Sleep(a.plan.pause)
	}
	return a.plan.leave != never && a.plan.leave != midAnswer
}

// read reads the answer and checks what can be seen from it alone.
func (l *lane) read(a attempt) (o outcome) {
	o.earlier = l.answers
	resp, err := http.ReadResponse(l.in, &http.Request{Method: http.MethodPost})
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(l.in, &http.Request{Method: http.MethodPost})
	}
	if err != nil {
		if network, ok := err.(net.Error); ok && network.Timeout() {
			l.w.fail("every request gets an answer or a visible cut: %s got neither", a.id)
		}
		o.err = err
		return o
	}
	l.answers++
	o.began, o.status, o.closes = true, resp.StatusCode, resp.Close
	o.refusal = resp.Header.Get("X-Usher-Refusal")
	if got := resp.Header.Get("X-Request-Id"); got != a.id.String() && a.plan.kind != malformed && o.refusal != "bad_request" {
		l.w.fail("every request gets exactly one answer, its own: %s got that of %q", a.id, got)
	}
	if a.plan.leave == midAnswer {
		_, _ = io.CopyN(io.Discard, resp.Body, int64(a.plan.choice%100))
		o.left = true
		l.drop(a.plan.exit)
		return o
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.err = err
		return o
	}
	if a.plan.own {
		o.text = string(body)
		return o
	}
	// A request that breaks off while it is forwarded has spent its ticket, so Usher
	// answers it, but not with a refusal.
	if a.plan.place == inHead && bytes.Contains(body, []byte(`"bad_request"`)) {
		return o
	}
	if o.refusal == "" {
		if err := checkAnswer(body, a.id.String()); err != nil && (a.plan.manner != http10 || l.w.weather.calm()) {
			l.w.fail("a broken stream never ends cleanly: %s (%s, %s): %v", a.id, a.plan.fault, a.plan.manner, err)
		}
	}
	return o
}

// checkAnswer checks a body that answerBody made.
func checkAnswer(body []byte, name string) error {
	if !bytes.HasPrefix(body, []byte("data: for "+name+"\n")) {
		return fmt.Errorf("another's answer, %.60q", body)
	}
	const mark = "data: sum "
	at := bytes.LastIndex(body, []byte(mark))
	if at < 0 {
		return fmt.Errorf("%d bytes without the sum", len(body))
	}
	at += len(mark)
	if want := fmt.Sprintf("%08x\n\n", crc32.ChecksumIEEE(body[:at])); string(body[at:]) != want {
		return fmt.Errorf("a wrong sum in %d bytes: %.200q", len(body), strings.TrimSpace(string(body[at:])))
	}
	return nil
}
