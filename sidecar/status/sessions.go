package status

import "fmt"

// Sessions are those that clients have open. Nothing here tells one from another,
// or opens it.
type Sessions struct {
	Open     int       `json:"open"`
	Most     int       `json:"most"`     // that may be
	Requests uint64    `json:"requests"` // that came in sessions, since the start
	Oldest   []Session `json:"oldest"`   // some of them, the oldest first
}

// A Session is one of them. Durations are seconds.
type Session struct {
	Age      float64 `json:"age"`
	Left     float64 `json:"left"`     // until it expires
	Requests uint64  `json:"requests"` // that came in it
	Inside   int     `json:"inside"`   // of those, under way
}

// summary is one line.
func (s *Sessions) summary() string {
	return fmt.Sprintf("%d of %d open, %s in sessions since the start", s.Open, s.Most, requests(int(s.Requests)))
}

// sessions shows them, where there are any.
func (p *printer) sessions(s *Snapshot) {
	if s.Sessions == nil {
		return
	}
	p.title("sessions")
	p.line("", "  %s", s.Sessions.summary())
	for _, one := range s.Sessions.Oldest {
		p.line("", "  opened %s ago, expires in %s, %s, %d under way", age(one.Age), age(max(0, one.Left)), requests(int(one.Requests)), one.Inside)
	}
}
