package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Level says how much a Verdict or an Answer should worry an operator.
type Level string

// The levels.
const (
	Good Level = "good"
	Warn Level = "warn" // it works, but some are not served as they should be
	Bad  Level = "bad"  // requests are not let in, or they fail
)

// A Verdict sums everything up in a sentence or two.
type Verdict struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// An Answer answers one of the first questions of an operator who is paged.
type Answer struct {
	Level    Level  `json:"level"`
	Question string `json:"question"`
	Short    string `json:"short"`
	Detail   string `json:"detail"`
	clause   string // for the verdict
}

const (
	// manyRefused is the share of refused requests above which somebody should look;
	// fewer are the usual mistakes of clients.
	manyRefused = 0.05
	// felt is the shortest wait that counts as one, in seconds.
	felt = 0.0005
	// longWait is a wait that people complain about, in seconds.
	longWait = 1.0
)

// judge fills in the answers and the verdict.
func (s *Snapshot) judge() {
	s.Answers = []Answer{s.lettingIn(), s.bottleneck(), s.refusing(), s.keepingWaiting()}
	s.Verdict.Level = Good
	clauses := make([]string, 0, len(s.Answers))
	for _, a := range s.Answers {
		if a.Level == Bad || a.Level == Warn && s.Verdict.Level == Good {
			s.Verdict.Level = a.Level
		}
		if a.clause != "" {
			clauses = append(clauses, a.clause)
		}
	}
	last := len(clauses) - 1
	text := clauses[last]
	if last > 0 {
		text = strings.Join(clauses[:last], ", ") + ", and " + clauses[last]
	}
	s.Verdict.Text = text + "."
	if orphaned := s.orphaned(); orphaned != "" {
		s.Verdict.Text += " " + orphaned
		if s.Verdict.Level == Good {
			s.Verdict.Level = Warn
		}
	}
}

func (s *Snapshot) lettingIn() Answer {
	a := Answer{Level: Good, Question: "Is it letting requests in?"}
	served := s.Now.of(account.ClassServed)
	var failing []string
	for _, c := range s.Checks {
		if !c.OK {
			failing = append(failing, c.Detail)
		}
	}
	switch {
	case !s.Ready && s.Checks.fails(CheckDraining):
		a.Level, a.Short = Warn, "Draining"
		a.Detail = fmt.Sprintf("Draining: %s in flight, %d waiting.", requests(s.Load.InFlight), s.Load.Waiting)
		a.clause = fmt.Sprintf("Draining, with %s still in flight", requests(s.Load.InFlight))
	case !s.Ready && s.Key.Algorithm == "":
		a.Level, a.Short = Bad, "No"
		a.Detail = sentence("no public key yet", s.Key.Error)
		a.clause = "Letting nothing in: there is no public key yet to verify tickets with"
	case !s.Ready && s.Checks.fails(CheckLoaded) && s.Upstream.Healthy:
		a.Level, a.Short = Warn, "Not yet"
		a.Detail = "Not loaded yet: " + strings.Join(failing, "; ") + "."
		a.clause = "Not loaded yet: " + strings.Join(failing, "; ")
	case !s.Ready:
		a.Level, a.Short = Bad, "Not ready"
		a.Detail = "Not ready: " + strings.Join(failing, "; ") + "."
		a.clause = "Not ready: the model server does not answer its health probe"
	case s.Now.minute() == 0:
		a.Short, a.Detail = "Yes, idle", "No request in the last minute."
		a.clause = "Ready and idle: no request in the last minute"
	default:
		a.Short = "Yes, " + perSecond(served.PerSecond)
		a.Detail = fmt.Sprintf("%d served in the last minute.", served.Minute)
		a.clause = "Letting requests in, " + perSecond(served.PerSecond) + " served"
	}
	return a
}

func (s *Snapshot) bottleneck() Answer {
	a := Answer{Level: Good, Question: "Is the model server the bottleneck?", Short: "No"}
	l := &s.Load
	slots := fmt.Sprintf("%d in flight, without a limit", l.InFlight)
	if l.Slots > 0 {
		slots = fmt.Sprintf("%d of %d slots taken", l.InFlight, l.Slots)
	}
	a.Detail = slots + "."
	failed, all := s.Now.of(account.ClassModel).Minute, s.Now.minute()
	full := l.Slots > 0 && l.InFlight >= l.Slots
	switch {
	case !s.Upstream.Healthy:
		a.Level, a.Short, a.Detail = Bad, "It is down", sentence("", s.Upstream.Detail)
		if s.Ready || s.Checks.fails(CheckDraining) {
			a.clause = "the model server does not answer its health probe"
		}
	case failed > 0 && float64(failed) >= manyRefused*float64(all):
		a.Level, a.Short = Bad, "It fails"
		a.Detail = fmt.Sprintf("%d of %s failed at the model server in the last minute; %s.", failed, requests(int(all)), slots)
		a.clause = fmt.Sprintf("the model server fails %s of them", percent(failed, all))
		if s.Now.of(account.ClassModel).PerSecond == 0 {
			a.Level, a.Short = Warn, "It failed"
			a.clause = fmt.Sprintf("the model server failed %s of them in the last minute, but none in the last seconds", percent(failed, all))
		}
	case full && l.Waiting > l.Held, s.Latency.Queue.P50 >= felt:
		a.Level, a.Short = Warn, "Yes"
		a.Detail = fmt.Sprintf("%s, and %d wait for one.", slots, l.Waiting-l.Held)
		a.clause = fmt.Sprintf("the model server is the bottleneck: %s and %d wait", slots, l.Waiting-l.Held)
	case full, s.Latency.Queue.P99 >= 10*felt:
		a.Short, a.Detail = "At times", slots+"; most find a free one."
		a.clause = "the model server is full at times (" + slots + ")"
	case all > 0 && s.Ready:
		a.clause = "the model server keeps up (" + slots + ")"
	}
	return a
}

func (s *Snapshot) refusing() Answer {
	a := Answer{Level: Good, Question: "Who is refused, and why?", Short: "Nobody", Detail: "No refusal in the last minute."}
	refused, all := s.Now.of(account.ClassTicket).Minute+s.Now.of(account.ClassBusy).Minute+s.Now.of(account.ClassWorker).Minute, s.Now.minute()
	if refused == 0 {
		return a
	}
	var top *Reason
	for i := range s.Reasons {
		if r := &s.Reasons[i]; r.Class != account.ClassGone && r.Class != account.ClassModel && r.Minute > 0 {
			top = r
			break
		}
	}
	a.Short = percent(refused, all) + " of all"
	a.Detail = fmt.Sprintf("%d in the last minute", refused)
	a.clause = fmt.Sprintf("%s are refused", percent(refused, all))
	if top != nil {
		because := "mostly because "
		if top.Minute == refused {
			because = "because "
		} else {
			a.clause += ","
		}
		a.Detail += ", " + because + top.Reason
		a.clause += " " + because + top.Reason
	}
	a.Detail += "."
	if who, n, of := s.topClient(); n > 0 {
		a.Detail += fmt.Sprintf(" %d of the last %d came from %s.", n, of, who)
	}
	if float64(refused) >= manyRefused*float64(all) {
		a.Level = Warn
	}
	return a
}

// topClient returns the address that was refused most often in the last minute, with
// its count and the total, among the refusals that are remembered.
func (s *Snapshot) topClient() (who string, n, of int) {
	seen := make(map[string]int)
	for _, r := range s.Refusals {
		if s.At.Sub(r.At) > time.Minute {
			break
		}
		of++
		seen[r.Client]++
		if seen[r.Client] > n {
			who, n = r.Client, seen[r.Client]
		}
	}
	return who, n, of
}

func (s *Snapshot) keepingWaiting() Answer {
	a := Answer{Level: Good, Question: "How long do people wait, and for what?", Short: "Nobody waits"}
	hold, queue := s.Latency.Hold, s.Latency.Queue
	wait, what := hold, "missing numbers"
	if queue.P99 > hold.P99 {
		wait, what = queue, "a free slot"
	}
	if wait.P99 < felt {
		a.Detail = "Neither for a missing number nor for a slot, in the last minute."
		return a
	}
	a.Short = "p99 " + span(wait.P99)
	half, most := "", "Most do not wait at all"
	if wait.P50 >= felt {
		half, most = "half of them "+span(wait.P50)+" and ", "Half wait over "+span(wait.P50)
	}
	a.clause = fmt.Sprintf("people wait for %s, %s1 in 100 over %s", what, half, span(wait.P99))
	a.Detail = fmt.Sprintf("%s. 1 in 100 waits over %s for a missing number, over %s for a free slot.", most, span(hold.P99), span(queue.P99))
	if wait.P50 >= longWait || wait.P99 >= 5*longWait {
		a.Level = Warn
	}
	return a
}
