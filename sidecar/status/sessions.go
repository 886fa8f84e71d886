package status

import "fmt"

// Sessions describes the clients' open sessions. It contains neither ids nor tickets.
type Sessions struct {
	Open     int       `json:"open"`
	Most     int       `json:"most"`     // limit on Open
	Requests uint64    `json:"requests"` // received in sessions, since the start
	Oldest   []Session `json:"oldest"`   // the oldest few, oldest first
}

// A Session is one of them. Durations are seconds.
type Session struct {
	Age      float64 `json:"age"`
	Left     float64 `json:"left"`     // until it expires
	Requests uint64  `json:"requests"` // received in it
	Inside   int     `json:"inside"`   // of those, how many are in flight
}

// summary returns one line.
func (s *Sessions) summary() string {
	return fmt.Sprintf("%d of %d open, %s in sessions since the start", s.Open, s.Most, requests(int(s.Requests)))
}

// sessions prints the sessions, if they are on.
func (p *printer) sessions(s *Snapshot) {
	if s.Sessions == nil {
		return
	}
	p.title("sessions")
	p.line("", "  %s", s.Sessions.summary())
	for _, one := range s.Sessions.Oldest {
		p.line("", "  opened %s ago, expires in %s, %s, %d in flight", age(one.Age), age(max(0, one.Left)), requests(int(one.Requests)), one.Inside)
	}
}
