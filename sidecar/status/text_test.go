package status

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
)

func fullSnapshot() *Snapshot {
	s := &Snapshot{
		At: time.Unix(1000, 0), Version: "v9", Name: "my-llama", Uptime: 100,
		Checks: []Check{{"model server", false, "refused\x1b]0;owned\x07"}},
		Key:    Key{Algorithm: "RSA-2048", Fingerprint: strings.Repeat("ab", 32), Source: "file"},
		Load:   Load{InFlight: 3, Slots: 8, Waiting: 2, Held: 1, Capacity: 10},
		Strip:  Picture{From: 100, Cells: "ssxs.wirge", Marks: ".f.l......"},
		Reasons: []Reason{{"reqnum_stale", account.ClassTicket, 5, 50, "the ticket is too old",
			"If all are, the autoscaler started its numbers again: restart with a new state file, or set USHER_REQNUM_RESET_AFTER."}},
		Refusals: []Refusal{{Reqnum: -1, Code: "route_unknown", RequestID: "abc"}},
		Engine:   &Engine{Name: "vllm", Fault: "/metrics answered 404\x1b[2J", Slots: "128, because the model server's load cannot be read: /metrics answered 404"},
		Warnings: []string{"USHER_X is no setting of usher"},
		Settings: []Setting{{"USHER_ENDPOINT", "my-llama"}},
	}
	for _, c := range account.Classes {
		s.Now = append(s.Now, Rate{Class: c})
	}
	s.judge()
	return s
}

func TestTextFitsAnyWidth(t *testing.T) {
	s := fullSnapshot()
	for _, width := range []int{0, 1, 40, 41, 57, 80, 120, 300} {
		text := s.Text(Terminal{Width: width, Settings: true})
		limit := max(width, 40)
		if width == 0 {
			limit = 100
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if words := strings.Fields(line); len(words) > 1 { // one word may be longer
				require.LessOrEqual(t, utf8.RuneCountInString(line), limit, line)
			}
			for _, r := range line {
				require.True(t, r >= ' ' && r < 0x7f, "%q", line)
			}
		}
	}
}

func TestText(t *testing.T) {
	s := fullSnapshot()
	text := s.Text(Terminal{})
	for _, want := range []string{
		"BAD", "my-llama", "#+x~?w>!-E", "3 of 8 slots", "waiting 2 of 10 (1 held for a gap)",
		"FAILS model server   refused]0;owned", "reqnum_stale: the ticket is too old", "abc", "USHER_X is no setting",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "USHER_ENDPOINT")
	require.Contains(t, s.Text(Terminal{Settings: true}), "USHER_ENDPOINT")

	colored := s.Text(Terminal{Color: true})
	require.Contains(t, colored, "\x1b[1;31m")
	require.NotContains(t, colored, "owned\x07", "what could steer the terminal is left out")
	require.NotContains(t, colored, "\x1b]")
	require.Contains(t, (&Snapshot{}).withVerdict().Text(Terminal{}), "no signed number has come yet")
}

func (s *Snapshot) withVerdict() *Snapshot {
	s.Now = make([]Rate, len(account.Classes))
	s.judge()
	return s
}
