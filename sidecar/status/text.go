package status

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Terminal says how Text is formatted. The zero value is plain text of 100 columns.
type Terminal struct {
	Width    int  // columns; 0: 100; below 40 counts as 40
	Color    bool // ANSI colours
	Settings bool // include the settings in force
}

// WriteText writes a Snapshot as plain text, settings included.
func WriteText(w io.Writer, s *Snapshot) error {
	_, err := io.WriteString(w, s.Text(Terminal{Settings: true}))
	return err
}

// Text returns a Snapshot as text for a terminal, the most important things first.
// Control characters in it are left out. Without colours it is ASCII, except for
// names that are not.
func (s *Snapshot) Text(t Terminal) string {
	p := &printer{width: max(t.Width, 40), color: t.Color}
	if t.Width == 0 {
		p.width = 100
	}
	p.line("", "Usher %s   %s   %s   up %s", s.Version, s.Name, s.URL, age(s.Uptime))
	p.line("", "")
	p.wrap(tone(s.Verdict.Level), strings.ToUpper(string(s.Verdict.Level))+"  ", s.Verdict.Text)
	p.line("", "")
	for _, a := range s.Answers {
		p.wrap(tone(a.Level), fmt.Sprintf("%-40s ", a.Question), a.Short+". "+a.Detail)
	}
	p.order(s)
	p.figures(s)
	p.sessions(s)
	p.reasons(s)
	p.facts(s)
	p.refused(s)
	if t.Settings {
		p.title("settings in force")
		for _, v := range s.Settings {
			p.line("", "  %-32s %s", v.Name, v.Value)
		}
	}
	return p.text.String()
}

// A printer writes lines of a limited width.
type printer struct {
	text  strings.Builder
	width int
	color bool
}

// SGR parameters (ECMA-48, section 8.3.117), from the 16 colours that users can
// configure in their terminals.
const (
	bold   = "1"
	green  = "32"
	yellow = "33"
	red    = "31"
	blue   = "34"
)

func tone(l Level) string { return map[Level]string{Good: green, Warn: "1;33", Bad: "1;31"}[l] }

// paint colours a text, whose length must be final.
func (p *printer) paint(style, text string) string {
	if !p.color || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// line writes one line, truncated to the width.
func (p *printer) line(style, format string, args ...any) {
	text := []rune(printable(fmt.Sprintf(format, args...)))
	if len(text) > p.width {
		text = append(text[:p.width-1], '~')
	}
	p.text.WriteString(p.paint(style, strings.TrimRight(string(text), " ")) + "\n")
}

func (p *printer) title(name string) {
	p.line("", "")
	p.line(bold, "%s", name)
}

// wrap writes a text after a label, on as many lines as it takes.
func (p *printer) wrap(style, label, text string) {
	indent := len([]rune(label))
	if indent > p.width/2 {
		p.line("", "%s", label)
		label, indent = "    ", 4
	}
	row, used := "", 0
	for _, word := range strings.Fields(printable(text)) {
		if n := len([]rune(word)); used > 0 && indent+used+1+n > p.width {
			p.text.WriteString(printable(label) + p.paint(style, row) + "\n")
			label, row, used = strings.Repeat(" ", indent), "", 0
		}
		if used > 0 {
			row, used = row+" ", used+1
		}
		row, used = row+word, used+len([]rune(word))
	}
	p.text.WriteString(printable(label) + p.paint(style, row) + "\n")
}

// printable removes characters that could control a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// glyphs are the characters for the strip's states, and their style.
var glyphs = map[State]struct{ glyph, style string }{
	Missing: {"?", "1;31"}, GivenUp: {"x", red}, Waiting: {"w", yellow}, Running: {">", blue},
	Served: {"#", green}, Refused: {"!", yellow}, Gone: {"-", ""}, Failed: {"E", red},
}

func (p *printer) order(s *Snapshot) {
	o := &s.Ordering
	p.title("order")
	hold := "as set"
	if o.Learned {
		hold = "learned, at most " + span(o.MaxHold)
	}
	p.line("", "  hold %s (%s)   out of order %s, target %s", span(o.Hold), hold,
		share(o.Reordered), share(o.Target))
	p.line("", "  %d numbers were missing: %d came in time, %d were given up, %d came late", o.Opened, o.Filled, o.GivenUp, o.Late)
	cells, marks := s.Strip.Cells, s.Strip.Marks
	if cells == "" || len(marks) != len(cells) {
		p.line("", "  no signed number has come yet")
		return
	}
	first := max(0, len(cells)-(p.width-4))
	var row strings.Builder
	for i := first; i < len(cells); i++ {
		g, known := glyphs[State(cells[i])]
		if !known {
			g = glyphs[Missing]
		}
		if State(cells[i]) == Served {
			switch Mark(marks[i]) {
			case Filled:
				g.glyph = "+"
			case Late:
				g.glyph = "~"
			}
		}
		row.WriteString(p.paint(g.style, g.glyph))
	}
	p.text.WriteString("  " + row.String() + "\n")
	low, high := fmt.Sprint(s.Strip.From+int64(first)), fmt.Sprint(s.Strip.From+int64(len(cells)-1))
	p.line("", "  %s%*s", low, max(len(high)+1, len(cells)-first-len(low)), high)
	p.wrap("", "  ", "# served,  + filled a gap,  ~ late,  > in flight,  w waiting,  ? missing,  x given up,  ! refused,  E failed,  - client left")
}

func share(x float64) string { return percent(uint64(x*1e6+0.5), 1e6) }

func (p *printer) figures(s *Snapshot) {
	l := &s.Load
	p.title("now")
	slots := fmt.Sprint(l.InFlight)
	if l.Slots > 0 {
		slots += fmt.Sprintf(" of %d slots", l.Slots)
	}
	p.line("", "  in flight %s   waiting %d of %d (%d held for a gap), %d bytes   connections %d",
		slots, l.Waiting, l.Capacity, l.Held, l.WaitingBytes, l.Connections)
	names := map[account.Class]string{account.ClassServed: "served", account.ClassTicket: "ticket at fault", account.ClassBusy: "no room", account.ClassWorker: "Usher not ready",
		account.ClassModel: "model server failed", account.ClassGone: "client left"}
	for _, r := range s.Now {
		p.line("", "  %-24s %8s %8d in the last minute", names[r.Class], perSecond(r.PerSecond), r.Minute)
	}
	p.title("last minute" + strings.Repeat(" ", 16) + "  p50      p99")
	for _, row := range []struct {
		name string
		q    Quantiles
	}{
		{"wait for missing numbers", s.Latency.Hold}, {"wait for a free slot", s.Latency.Queue},
		{"time to first byte", s.Latency.FirstByte}, {"time between tokens", s.Latency.TokenGap},
	} {
		p.line("", "  %-24s %8s %8s", row.name, span(row.q.P50), span(row.q.P99))
	}
}

func (p *printer) reasons(s *Snapshot) {
	p.title("not served: last minute, total, why, what to do")
	if len(s.Reasons) == 0 {
		p.line("", "  none since the start")
	}
	for _, r := range s.Reasons {
		p.wrap("", fmt.Sprintf("%7d %7d  ", r.Minute, r.Total), r.Code+": "+r.Reason+". "+r.Advice)
	}
}

func (p *printer) facts(s *Snapshot) {
	p.title("checks")
	for _, c := range s.Checks {
		word, level := "ok", Good
		if !c.OK {
			word, level = "FAILS", Bad
		}
		p.line(tone(level), "  %-5s %-14s %s", word, c.Name, c.Detail)
	}
	k := &s.Key
	p.line("", "  key    %s %s", either(k.Fingerprint, "none yet"), k.Algorithm)
	p.line("", "         from %s, seen %s ago, last error: %s", k.Source, age(k.Age), either(k.Error, "none"))
	p.line("", "  model  %s, probe %s: %s", s.Upstream.Address, s.Upstream.Probe, s.Upstream.Detail)
	if e := s.Engine; e != nil {
		p.line("", "  engine %s: %s", e.Name, e.Load())
		if e.Slots != "" {
			p.wrap("", "  slots  ", e.Slots)
		}
	}
	if r := s.Report; r != nil {
		p.line("", "  report %s", r.Text)
		if r.Said != "" {
			p.line("", "         %s", r.Said)
		}
	}
	if s.TLS != nil {
		p.line("", "  TLS    %s", s.TLS.Text)
	}
	for _, w := range s.Warnings {
		p.wrap(yellow, "  warning  ", w)
	}
}

func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (p *printer) refused(s *Snapshot) {
	p.title("last refusals")
	if len(s.Refusals) == 0 {
		p.line("", "  none since the start")
	}
	for _, r := range s.Refusals {
		number := "-"
		if r.Reqnum >= 0 {
			number = fmt.Sprint(r.Reqnum)
		}
		p.line("", "  %s %-20s %d %10s  %-15s %s", r.At.Local().Format("15:04:05"), r.Code, r.Status, number, r.Client, r.RequestID)
	}
}
