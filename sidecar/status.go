package sidecar

import (
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/status"
)

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
