package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A fault is a way for the model server to answer, and what a client in calm weather
// may see of it: a status such as "200" for a whole answer, "cut", or a refusal's
// code.
type fault struct {
	weight int
	sees   string // separated by spaces
	act    func(a *acting) bool
}

// An acting is one answer under way. An act returns whether the connection stays
// open.
type acting struct {
	net.Conn
	plan plan
	body []byte
	fail func(format string, args ...any)
}

var faults = map[string]fault{
	"length":     {500, "200", func(a *acting) bool { return a.send(a.declared(200), string(a.body)) }},
	"chunks":     {300, "200", func(a *acting) bool { return a.send(chunkedHead, a.chunks(), "0\r\n\r\n") }},
	"events":     {150, "200", func(a *acting) bool { return a.send(eventsHead, a.chunks(), "0\r\n\r\n") }},
	"trailers":   {10, "200", func(a *acting) bool { return a.send(chunkedHead, a.chunks(), "0\r\nX-Sum: 1\r\n\r\n") }},
	"by close":   {20, "200", func(a *acting) bool { a.send("HTTP/1.1 200 OK\r\n\r\n", string(a.body)); return false }},
	"one by one": {40, "200", func(a *acting) bool { return a.send(eventsHead) && a.drip(a.chunks(), 5) && a.send("0\r\n\r\n") }},
	"dripped":    {20, "200", func(a *acting) bool { return a.drip(a.declared(200)+string(a.body), 40) }},
	"slow head":  {60, "200", func(a *acting) bool { time.Sleep(5 * a.plan.pause); return a.send(a.declared(200), string(a.body)) }},
	"interim": {10, "200", func(a *acting) bool {
		return a.send("HTTP/1.1 103 Early Hints\r\n\r\n", a.declared(200), string(a.body))
	}},
	"status 500":   {15, "500", func(a *acting) bool { return a.send(a.declared(500), string(a.body)) }},
	"leaves after": {15, "200", func(a *acting) bool { a.send(a.declared(200), string(a.body)); return false }},
	"stray":        {10, "200", func(a *acting) bool { return a.send(a.declared(200), string(a.body), a.declared(200), "smuggled") }},

	"reset before head": {10, "upstream_broken", func(a *acting) bool { return a.reset() }},
	"end before head":   {10, "upstream_broken", func(a *acting) bool { return false }},
	"reset in head":     {10, "upstream_broken", func(a *acting) bool { a.send("HTTP/1.1 200 OK\r\nContent-Le"); return a.reset() }},
	"half-close, head":  {10, "upstream_broken", func(a *acting) bool { a.send("HTTP/1.1 200 OK\r\nContent-Le"); return a.halfClose() }},
	"no HTTP":           {5, "upstream_broken", func(a *acting) bool { return a.send("SSH-2.0-OpenSSH_9.2\r\n\r\n") }},
	"switches":          {5, "upstream_broken", func(a *acting) bool { return a.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") }},
	"no head":           {2, "upstream_timeout", func(a *acting) bool { return a.hold() }},

	"length, cut":         {10, "cut", func(a *acting) bool { a.send(a.declared(200), a.half()); return false }},
	"length, reset":       {10, "cut", func(a *acting) bool { a.send(a.declared(200), a.half()); return a.reset() }},
	"length, half-closed": {10, "cut", func(a *acting) bool { a.send(a.declared(200), a.half()); return a.halfClose() }},
	"by close, reset":     {5, "cut", func(a *acting) bool { a.send("HTTP/1.1 200 OK\r\n\r\n", a.half()); return a.reset() }},
	"chunks, cut":         {10, "cut", func(a *acting) bool { a.send(chunkedHead, a.chunks()); return false }},
	"chunks, cut inside":  {10, "cut", func(a *acting) bool { a.send(chunkedHead, a.chunks(), "ff\r\nhalf"); return false }},
	"chunks, reset":       {10, "cut", func(a *acting) bool { a.send(eventsHead, a.chunks()); return a.reset() }},
	"chunks, half-closed": {10, "cut", func(a *acting) bool { a.send(eventsHead, a.chunks()); return a.halfClose() }},
	"chunks, bad size":    {10, "cut", func(a *acting) bool { return a.send(eventsHead, a.chunks(), "0x0\r\n\r\n") && a.hold() }},
	// Streams that pause before they end.
	"stream, paused":        {40, "200", func(a *acting) bool { return a.paused() && a.send(a.chunks(), "0\r\n\r\n") }},
	"stream, data with FIN": {20, "200", func(a *acting) bool { _ = a.paused() && a.send(a.chunks(), "0\r\n\r\n"); return false }},
	"stream, data with RST": {10, "cut", func(a *acting) bool { _ = a.paused() && a.send(a.chunks()); return a.reset() }},
	"stream, ends in chunk": {10, "cut", func(a *acting) bool { _ = a.paused() && a.drip(a.chunks()+"ff\r\nhalf", 3); return false }},
	"stream, ends in size":  {10, "cut", func(a *acting) bool { _ = a.paused() && a.drip(a.chunks()+"f", 3); return false }},
	"stream, bad size":      {10, "cut", func(a *acting) bool { return a.paused() && a.send("0x0\r\n\r\n") && a.hold() }},
	"flood, reset":          {0, "cut", func(a *acting) bool { return a.flood() }}, // used by slow
	"stalls":                {2, "cut", func(a *acting) bool { return a.send(eventsHead, a.chunks()) && a.hold() }},
}

const (
	chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	eventsHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// faultDie has the faults in a fixed order, for roll.
var faultDie = func() (die []weighted[string]) {
	for _, name := range sortedKeys(faults) {
		die = append(die, weighted[string]{faults[name].weight, name})
	}
	return die
}()

// may reports whether a client with this plan may see this outcome in calm weather.
func (p plan) may(see string) bool {
	for allowed := range strings.FieldsSeq(faults[p.fault].sees) {
		// An answer that was cut before its head went out becomes a refusal. An
		// HTTP/1.0 client may see a break in either way too.
		if see == allowed || allowed == "cut" && see == "upstream_broken" {
			return true
		}
	}
	return false
}

// answerBody returns an answer that shows by itself whether it is whole and whose it
// is: numbered lines, of which the last has the sum of the others.
func answerBody(name string, lines int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "data: for %s\n\n", name)
	for i := range lines {
		fmt.Fprintf(&b, "data: line %d\n\n", i)
	}
	b.WriteString("data: sum ")
	fmt.Fprintf(&b, "%08x\n\n", crc32.ChecksumIEEE(b.Bytes()))
	return b.Bytes()
}

func (a *acting) send(pieces ...string) bool {
	_, err := io.WriteString(a.Conn, strings.Join(pieces, ""))
	return err == nil
}

// paused sends the head of a stream, then nothing for a while.
func (a *acting) paused() bool {
	if !a.send(eventsHead) {
		return false
	}
	time.Sleep(a.plan.pause)
	return true
}

// flood sends events until no more are taken for a while, then resets.
func (a *acting) flood() bool {
	event := "data: " + strings.Repeat("flood ", 1000) + "\n\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
	a.send(eventsHead)
	for {
		_ = a.SetWriteDeadline(time.Now().Add(writeTimeout / 4))
		if !a.send(chunk) {
			return a.reset()
		}
	}
}

func (a *acting) declared(status int) string {
	return "HTTP/1.1 " + strconv.Itoa(status) + " Chaos\r\nContent-Length: " + strconv.Itoa(len(a.body)) + "\r\n\r\n"
}

func (a *acting) half() string { return string(a.body[:len(a.body)/2]) }

// chunks returns the body with one event a chunk, without the last chunk.
func (a *acting) chunks() string {
	var b strings.Builder
	for event := range strings.SplitAfterSeq(string(a.body), "\n\n") {
		if event != "" {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(event), event)
		}
	}
	return b.String()
}

// drip sends s in about this many pieces.
func (a *acting) drip(s string, pieces int) bool {
	for step := max(1, len(s)/pieces); len(s) > 0; {
		n := min(step, len(s))
		if !a.send(s[:n]) {
			return false
		}
		s = s[n:]
		time.Sleep(a.plan.pause / 4)
	}
	return true
}

func (a *acting) reset() bool {
	_ = a.Conn.(*net.TCPConn).SetLinger(0)
	return false
}

// halfClose closes the sending half and waits for the other side to close.
func (a *acting) halfClose() bool {
	_ = a.Conn.(*net.TCPConn).CloseWrite()
	return a.hold()
}

// hold sends nothing more until the other side closes, as it must.
func (a *acting) hold() bool {
	_ = a.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, a.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
		a.fail("a line that is of no use any more is closed: that of plan %d (%s) is not", a.plan.index, a.plan.fault)
	}
	return false
}
