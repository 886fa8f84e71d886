package sidecar

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/status"
)

// outcomeNotes tell, for every outcome, whose business it is, why it happens,
// and what an operator does about it.
var outcomeNotes = []status.Outcome{
	{Code: outcomeOK, Class: status.ClassServed, Reason: "all is well"},
	{Code: "route_unknown", Class: status.ClassTicket, Reason: "the path is no route",
		Advice: "Scanners call all sorts of paths and need no answer. If a client of yours is among them, add its path to USHER_ROUTES."},
	{Code: "method_not_allowed", Class: status.ClassTicket, Reason: "the method is not POST",
		Advice: "The client must use POST. A browser's OPTIONS means that USHER_CORS_ORIGINS is not set."},
	{Code: "unsupported_encoding", Class: status.ClassTicket, Reason: "the body is compressed",
		Advice: "The client must send its body without Content-Encoding."},
	{Code: "body_too_large", Class: status.ClassTicket, Reason: "the body is too large",
		Advice: "Raise USHER_MAX_BODY_BYTES if prompts of that size are wanted."},
	{Code: codeHTTP, Class: status.ClassTicket, Reason: "they are not acceptable HTTP",
		Advice: "Scanners and broken clients. If many come from one client, look at its HTTP library or at the proxy between."},
	{Code: "invalid_json", Class: status.ClassTicket, Reason: "the body is no acceptable JSON",
		Advice: "The client builds its body wrongly; usher verify reads a body and says where."},
	{Code: "invalid_ticket", Class: status.ClassTicket, Reason: "the ticket is not complete",
		Advice: "The client must pass on the autoscaler's whole answer; usher verify names what is missing."},
	{Code: "endpoint_mismatch", Class: status.ClassTicket, Reason: "the ticket is for another endpoint",
		Advice: "Compare USHER_ENDPOINT with the autoscaler's name for this group."},
	{Code: "url_mismatch", Class: status.ClassTicket, Reason: "the ticket is for another worker",
		Advice: "If every request is refused so, USHER_WORKER_URL is not what the autoscaler calls this worker. Else clients call the wrong one."},
	{Code: "reqnum_replayed", Class: status.ClassTicket, Reason: "the ticket was used already",
		Advice: "Clients retry with a used ticket, or somebody replays: they must ask for a new route. Usher needs nothing."},
	{Code: "reqnum_stale", Class: status.ClassTicket, Reason: "the ticket is too old",
		Advice: "If all are, the autoscaler started its numbers again: restart with a new state file, or set USHER_REQNUM_RESET_AFTER. Else clients sit on tickets."},
	{Code: "bad_signature", Class: status.ClassTicket, Reason: "the signature does not fit",
		Advice: "If all are, this is not the autoscaler's key, or it signs other fields (usher verify tells which). If few, somebody changes tickets."},
	{Code: "cost_exceeded", Class: status.ClassTicket, Reason: "they ask for more than their tickets' cost",
		Advice: "Clients understate their cost. Nothing to do, unless honest ones are hit: then USHER_COST_POLICY=observe."},
	{Code: "queue_full", Class: status.ClassBusy, Reason: "the queue is full",
		Advice: "More comes than the model server takes: add workers, or raise USHER_QUEUE_CAPACITY if waiting longer is better than being refused."},
	{Code: "queue_timeout", Class: status.ClassBusy, Reason: "they waited too long for a slot",
		Advice: "More comes than the model server takes: add workers, or raise USHER_MAX_CONCURRENCY if the GPU has room."},
	{Code: "draining", Class: status.ClassWorker, Reason: "this worker is leaving",
		Advice: "Expected while it drains. If it goes on, the autoscaler still routes here."},
	{Code: "key_unavailable", Class: status.ClassWorker, Reason: "there is no public key yet",
		Advice: "Usher cannot read the autoscaler's key: see the key's last error below."},
	{Code: "internal", Class: status.ClassWorker, Reason: "Usher hit a fault of its own",
		Advice: "A bug: please report the stack that is in the log beside this request id."},
	{Code: "upstream_unreachable", Class: status.ClassModel, Reason: "the model server cannot be reached",
		Advice: "Is it running, and at USHER_UPSTREAM_URL? The tickets stay good."},
	{Code: "upstream_broken", Class: status.ClassModel, Reason: "the model server broke off",
		Advice: "It died or closed in the middle of an answer: look at its log, often it ran out of memory."},
	{Code: "upstream_timeout", Class: status.ClassModel, Reason: "the model server did not answer in time",
		Advice: "It hangs or is overloaded: look at it; lower USHER_MAX_CONCURRENCY if it takes more than it can do."},
	{Code: outcomeUpstreamError, Class: status.ClassModel, Reason: "the model server answered with an error of its own",
		Advice: "A 5xx that was passed on as it came: look at the model server's log."},
	{Code: outcomeClientGone, Class: status.ClassGone, Reason: "the client left",
		Advice: "Clients hang up or time out. If many do, compare their time-outs with the waits above."},
	{Code: outcomeClientSlow, Class: status.ClassGone, Reason: "the client stopped reading",
		Advice: "It took nothing for USHER_WRITE_TIMEOUT and was cut, so that its slot is free."},
	{Code: outcomeCut, Class: status.ClassGone, Reason: "the drain's time was up",
		Advice: "USHER_DRAIN_TIMEOUT is shorter than the longest answers."},
}

// newRecorder makes the recorder of what becomes of requests; its outcomes stand
// in the order of the counters.
func newRecorder() *status.Recorder {
	notes := make([]status.Outcome, 0, len(outcomeNotes))
	for _, code := range outcomes() {
		i := slices.IndexFunc(outcomeNotes, func(o status.Outcome) bool { return o.Code == code })
		if i < 0 { // held by a test
			notes = append(notes, status.Outcome{Code: code, Class: status.ClassWorker, Reason: code})
			continue
		}
		notes = append(notes, outcomeNotes[i])
	}
	return status.NewRecorder(notes)
}

// tell has the recorder know how a request ended.
func (x *exchange) tell(now time.Time) {
	r := x.sidecar.recorder
	if x.reserved {
		r.Strip.Ended(x.reqnum, endOf(x.outcome))
	} else if x.outcome == "bad_signature" {
		r.Strip.Claimed(x.reqnum)
	}
	switch x.outcome {
	case outcomeOK, outcomeClientGone, outcomeClientSlow, outcomeCut:
		return
	}
	r.Refused(status.Refusal{
		At: now, RequestID: x.requestID, Client: x.client, Route: x.route, Reqnum: x.reqnum,
		Code: x.outcome, Status: x.status, Detail: x.detail,
		WaitedMS: float64((x.hold + x.queue).Microseconds()) / 1000,
	})
}

// endOf is how the strip shows the end of a request whose number was good.
func endOf(outcome string) status.State {
	switch {
	case outcome == outcomeOK:
		return status.Served
	case outcome == outcomeClientGone, outcome == outcomeClientSlow, outcome == outcomeCut:
		return status.Gone
	case strings.HasPrefix(outcome, "upstream_"):
		return status.Failed
	}
	return status.Refused
}

// openStatus makes the pages.
func (s *Sidecar) openStatus() {
	s.pages = status.NewPages(s.recorder, status.Source{State: s.describe, Load: s.load, Sample: s.sample})
}

func (s *Sidecar) load() (status.Load, int64) {
	b := s.buffer.Stats()
	return status.Load{
		InFlight: b.InFlight, Slots: b.Slots, Waiting: b.Waiting, Held: b.Held,
		Capacity: s.cfg.QueueCapacity, WaitingBytes: b.WaitingBytes,
		Connections: int(s.publicServer.GetOpenConnectionsCount()),
	}, b.Expected
}

func (s *Sidecar) sample(dst *status.Sample) {
	s.metrics.requests.byOutcome(dst.Totals)
	b := s.buffer.Stats()
	dst.InFlight, dst.Waiting, dst.Hold, dst.Reordered = b.InFlight, b.Waiting, b.Hold.Seconds(), s.reorderedRatio()
}

// describe fills in what the recorder does not know.
func (s *Sidecar) describe(d *status.Snapshot) {
	cfg, now := s.cfg, d.At
	d.Version, d.Uptime = s.version.Number, now.Sub(s.started).Seconds()
	d.Name, d.URL = strings.Join(cfg.Endpoints, ", "), strings.Join(cfg.WorkerURLs, ", ")
	d.Load, _ = s.load()
	b := s.buffer.Stats()
	d.Ordering = status.Ordering{
		Expected: b.Expected, Hold: b.Hold.Seconds(), Learned: cfg.ReorderAuto, MaxHold: cfg.ReorderMaxHold.Seconds(),
		Target: cfg.ReorderTarget, Reordered: s.reorderedRatio(),
		Opened: b.GapsOpened, Filled: b.GapsFilled, GivenUp: b.GapsGivenUp, Late: b.Late, Restarts: s.ledger.Stats().Resets,
	}
	ready := s.readiness()
	d.Ready = ready.ready()
	d.Checks = []status.Check{
		{Name: "public key", OK: ready.Key == "", Detail: either(ready.Key, "public key loaded")},
		{Name: "model server", OK: ready.Upstream == "", Detail: either(ready.Upstream, "model server answers")},
		{Name: status.CheckDraining, OK: ready.Draining == "", Detail: either(ready.Draining, "not draining")},
	}
	d.Key = s.describeKey(now)
	d.Upstream = status.Upstream{
		Healthy: s.prober.Healthy(), Detail: either(s.prober.Status(), "answers"),
		Address: cfg.Upstream.Address, Probe: cfg.Upstream.PathPrefix + cfg.HealthPath,
	}
	for _, v := range cfg.InForce() {
		d.Settings = append(d.Settings, status.Setting{Name: v.Name, Value: v.Value})
	}
	d.Warnings = cfg.Warnings()
}

func (s *Sidecar) describeKey(now time.Time) status.Key {
	st := s.keys.Status(now)
	k := status.Key{Source: "USHER_PUBLIC_KEY", Algorithm: st.Algorithm}
	switch {
	case s.cfg.PublicKeyFile != "":
		k.Source = s.cfg.PublicKeyFile
	case len(s.cfg.PublicKeyURLs) > 0:
		k.Source = strings.Join(s.cfg.PublicKeyURLs, ", ")
	}
	if fault := s.keyFault.Load(); fault != nil {
		k.Error = *fault
	}
	if st.Algorithm == "" {
		return k
	}
	k.Fingerprint = st.Current.String()
	k.Age, k.InForce = now.Sub(st.Fetched).Seconds(), now.Sub(st.Since).Seconds()
	if st.Previous != nil {
		k.Previous, k.PreviousFor = st.Previous.String(), st.Until.Sub(now).Seconds()
	}
	return k
}

func either(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}
