package status

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes a Snapshot as plain text, for terminals and logs.
func WriteText(w io.Writer, s *Snapshot) error {
	var b strings.Builder
	fmt.Fprintf(&b, "usher %s, up %s\n\n%s %s\n\n", s.Version, age(s.Uptime), strings.ToUpper(string(s.Verdict.Level)), s.Verdict.Text)
	for _, a := range s.Answers {
		fmt.Fprintf(&b, "%-42s %-14s %s\n", a.Question, a.Short, a.Detail)
	}
	fmt.Fprintf(&b, "\nready        %t\n", s.Ready)
	for _, c := range s.Checks {
		fmt.Fprintf(&b, "  %-15s %s\n", c.Name, c.Detail)
	}
	l, o := &s.Load, &s.Ordering
	fmt.Fprintf(&b, "\nin flight    %d\nwaiting      %d (%d held for a gap), %d bytes\n", l.InFlight, l.Waiting, l.Held, l.WaitingBytes)
	fmt.Fprintf(&b, "expected     %d\nhold         %s\n", o.Expected, span(o.Hold))
	if s.Strip.Cells != "" {
		fmt.Fprintf(&b, "numbers      %s\n", s.Strip.Cells[max(0, len(s.Strip.Cells)-64):])
	}
	if len(s.Settings) > 0 {
		b.WriteString("\nsettings in force\n")
	}
	for _, v := range s.Settings {
		fmt.Fprintf(&b, "  %-32s %s\n", v.Name, v.Value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
