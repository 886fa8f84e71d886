package relay

import "github.com/usher-sidecar/usher/dialect"

// eventTail remembers the last bytes of a stream, to know whether another event (HTML
// Living Standard, section 9.2.5) or line of JSON can begin there.
type eventTail struct {
	newlines int  // at the very end; CR LF counts as one
	cr       bool // the last byte was CR
	any      bool // there were bytes
}

func (t *eventTail) write(p []byte) {
	end := len(p)
	for end > 0 && (p[end-1] == '\n' || p[end-1] == '\r') {
		end--
	}
	if end > 0 {
		*t = eventTail{any: true}
		p = p[end:]
	}
	for _, c := range p {
		t.any = true
		if c != '\n' || !t.cr {
			t.newlines++
		}
		t.cr = c == '\r'
	}
}

// separator returns what ends an event that was left open, so that the next one stands on
// its own.
func (t *eventTail) separator(stream dialect.Stream) string {
	lineEnded := t.newlines > 0 && !t.cr
	switch {
	case !t.any || t.newlines >= 2 && stream == dialect.Events || lineEnded && stream == dialect.Lines:
		return ""
	case stream == dialect.Lines:
		return "\n"
	case t.newlines == 1 && !t.cr: // after CR, an LF would belong to the same line end
		return "\n"
	}
	return "\n\n"
}
