package modelserver

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Status answers with a status and a body.
func Status(code int, body string) Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// Stall sends nothing until the client leaves or the server ends.
func Stall() Hook {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
}

// First gives the first n requests to h and leaves the others to the server.
func First(n int, h Hook) Hook {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		return seen.Add(1) <= int64(n) && h(w, r)
	}
}

// For gives the requests to this path to h and leaves the others to the server.
func For(path string, h Hook) Hook {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Path == path && h(w, r)
	}
}

// A Step is one thing that a Script does to the connection; false ends it.
type Step func(c *Wire) bool

// A Wire is a connection taken over by a Script.
type Wire struct {
	net.Conn
	record *record
	reset  func()
}

// Script takes the connection over and goes through the steps, so it can send what HTTP
// forbids. After the last step it closes the connection: if the head lacked
// "Connection: close", a client may try that connection once more. Pause and Hold
// notice and record that the client leaves.
//
//	Script(Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), Reset())
func Script(steps ...Step) Hook {
	return func(w http.ResponseWriter, r *http.Request) bool {
		inner, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // only HTTP/1 is served
		}
		c := &Wire{Conn: inner, reset: inner.(*conn).reset, record: r.Context().Value(recordKey{}).(*record)}
		defer c.Close()
		_ = c.SetDeadline(time.Time{})
		for _, step := range steps {
			if !step(c) {
				break
			}
		}
		return true
	}
}

// Send sends bytes as they are.
func Send(s string) Step {
	return func(c *Wire) bool {
		_, err := io.WriteString(c, s)
		return err == nil
	}
}

// Pause waits. If the client leaves in the meantime, the script ends.
func Pause(d time.Duration) Step {
	return func(c *Wire) bool { return c.wait(time.Now().Add(d)) }
}

// Hold waits until the client leaves or the server ends.
func Hold() Step {
	return func(c *Wire) bool { return c.wait(time.Time{}) }
}

// Reset ends the script with a reset of the connection.
func Reset() Step {
	return func(c *Wire) bool {
		c.reset()
		return false
	}
}

// Drip sends s byte by byte with a pause before each.
func Drip(s string, pause time.Duration) Step {
	return func(c *Wire) bool {
		for i := range len(s) {
			if !Pause(pause)(c) || !Send(s[i:i+1])(c) {
				return false
			}
		}
		return true
	}
}

// wait waits until then, discarding what it reads. It returns false if the client has
// left.
func (c *Wire) wait(until time.Time) bool {
	_ = c.SetReadDeadline(until)
	_, err := io.Copy(io.Discard, c.Conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if !errors.Is(err, net.ErrClosed) { // ErrClosed means that the server closed it
		c.record.cancelled()
	}
	return false
}
