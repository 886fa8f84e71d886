package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// A console encodes log lines for people: the time of day, the level unless it is info,
// and the most important facts about a request in columns. Colour only repeats what the
// text says.
type console struct {
	*zapcore.MapObjectEncoder // fields from With, which this program does not use
	colour                    bool
}

var consoleBuffers = buffer.NewPool()

// Escape sequences for colours (ECMA-48 section 8.3.117).
const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
)

func newConsole(colour bool) *console {
	return &console{zapcore.NewMapObjectEncoder(), colour}
}

// Clone implements zapcore.Encoder.
func (c *console) Clone() zapcore.Encoder {
	clone := newConsole(c.colour)
	for k, v := range c.Fields {
		clone.Fields[k] = v
	}
	return clone
}

// EncodeEntry implements zapcore.Encoder.
func (c *console) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	values := zapcore.NewMapObjectEncoder()
	order := make([]string, 0, len(c.Fields)+len(fields))
	for k, v := range c.Fields {
		values.Fields[k] = v
		order = append(order, k)
	}
	for _, f := range fields {
		f.AddTo(values)
		order = append(order, f.Key)
	}
	b := consoleBuffers.Get()
	b.AppendString(c.paint(dim, e.Time.Format("15:04:05.000")))
	b.AppendByte(' ')
	if e.Message == "request" && e.Level == zapcore.InfoLevel {
		c.request(b, values.Fields)
	} else {
		c.message(b, e)
	}
	var stack string
	for _, key := range order {
		switch v, ok := values.Fields[key]; {
		case !ok: // already in a column
		case key == "stack":
			stack = fmt.Sprint(v)
		default:
			b.AppendString("  " + c.paint(dim, key+"=") + word(v))
		}
	}
	b.AppendByte('\n')
	for line := range strings.Lines(stack) {
		b.AppendString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	return b, nil
}

// message writes the level and message of a line that is not about a request.
func (c *console) message(b *buffer.Buffer, e zapcore.Entry) {
	switch {
	case e.Level >= zapcore.ErrorLevel:
		b.AppendString(c.paint(red, "ERROR "))
	case e.Level == zapcore.WarnLevel:
		b.AppendString(c.paint(yellow, "WARN  "))
	case e.Level == zapcore.DebugLevel:
		b.AppendString(c.paint(dim, "DEBUG "))
	}
	b.AppendString(e.Message)
}

// request writes the columns for a request and removes their fields.
func (c *console) request(b *buffer.Buffer, f map[string]any) {
	take := func(key string) any {
		v := f[key]
		delete(f, key)
		return v
	}
	status, outcome := take("status"), fmt.Sprint(take("outcome"))
	b.AppendString(c.paint(tint(status), fmt.Sprintf("%3v %-20s", status, outcome)))
	fmt.Fprintf(b, " %8s  %-20s", span(take("duration_ms")), take("route"))
	if n, ok := take("reqnum").(int64); ok {
		fmt.Fprintf(b, " %-8s", "#"+strconv.FormatInt(n, 10))
	} else {
		fmt.Fprintf(b, " %-8s", "")
	}
	for _, part := range [...]struct{ key, name string }{{"hold_ms", "held"}, {"queue_ms", "queued"}, {"ttfb_ms", "first byte"}} {
		if ms, ok := take(part.key).(float64); ok && ms > 0 {
			b.AppendString("  " + c.paint(dim, part.name+" ") + span(ms))
		}
	}
	b.AppendString("  " + size(take("bytes_in")) + c.paint(dim, " in ") + size(take("bytes_out")) + c.paint(dim, " out"))
}

// tint returns the colour for a status.
func tint(status any) string {
	n, _ := status.(int64)
	switch {
	case n >= 500:
		return red
	case n == 499:
		return blue
	case n >= 400:
		return yellow
	}
	return green
}

func (c *console) paint(colour, text string) string {
	if !c.colour {
		return text
	}
	return colour + text + plain
}

// span formats milliseconds with three digits and a suitable unit.
func span(ms any) string {
	v, _ := ms.(float64)
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + "µs"
	case v < 1000:
		return strconv.FormatFloat(v, 'g', 3, 64) + "ms"
	case v < 60_000:
		return strconv.FormatFloat(v/1000, 'g', 3, 64) + "s"
	}
	return (time.Duration(v/1000) * time.Second).String()
}

// size formats bytes with a suitable unit.
func size(n any) string {
	v, _ := n.(int64)
	switch {
	case v < 1000:
		return strconv.FormatInt(v, 10) + " B"
	case v < 1000_000:
		return strconv.FormatFloat(float64(v)/1000, 'f', 1, 64) + " kB"
	}
	return strconv.FormatFloat(float64(v)/1000_000, 'f', 1, 64) + " MB"
}

// word formats a value so that its end is visible and it cannot control the terminal.
func word(v any) string {
	text := fmt.Sprint(v)
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
