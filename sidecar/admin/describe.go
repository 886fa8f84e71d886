package admin

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/status"
)

// load is what changes from moment to moment, and the expected number.
func (s *Sources) load() (status.Load, int64) {
	b := s.Buffer.Stats()
	return status.Load{
		InFlight: b.InFlight, Slots: b.Slots, Waiting: b.Waiting, Held: b.Held,
		Capacity: s.Config.QueueCapacity, WaitingBytes: b.WaitingBytes,
		Connections: s.Connections(),
	}, b.Expected
}

func (s *Sources) sample(dst *status.Sample) {
	b := s.Buffer.Stats()
	dst.InFlight, dst.Waiting, dst.Hold, dst.Reordered = b.InFlight, b.Waiting, b.Hold.Seconds(), s.reorderedRatio()
}

// describe fills in what the recorder does not know.
func (s *Sources) describe(d *status.Snapshot) {
	cfg, now := s.Config, d.At
	d.Version, d.Uptime = s.Version, now.Sub(s.Started).Seconds()
	d.Name, d.URL = strings.Join(cfg.Endpoints, ", "), strings.Join(cfg.WorkerURLs, ", ")
	d.Load, _ = s.load()
	b := s.Buffer.Stats()
	d.Ordering = status.Ordering{
		Expected: b.Expected, Hold: b.Hold.Seconds(), Learned: cfg.ReorderAuto, MaxHold: cfg.ReorderMaxHold.Seconds(),
		Target: cfg.ReorderTarget, Reordered: s.reorderedRatio(),
		Opened: b.GapsOpened, Filled: b.GapsFilled, GivenUp: b.GapsGivenUp, Late: b.Late, Restarts: s.Ledger.Stats().Resets,
	}
	ready := s.Ready()
	d.Ready = ready.OK()
	d.Checks = []status.Check{
		{Name: "public key", OK: ready.Key == "", Detail: cmp.Or(ready.Key, "public key loaded")},
		{Name: "model server", OK: ready.Upstream == "", Detail: cmp.Or(ready.Upstream, "model server answers")},
		{Name: status.CheckDraining, OK: ready.Draining == "", Detail: cmp.Or(ready.Draining, "not draining")},
	}
	if s.Report != nil {
		report := s.Report(now)
		d.Report = &report
		d.Checks = slices.Insert(d.Checks, 2, status.Check{Name: status.CheckLoaded, OK: ready.Loaded == "", Detail: cmp.Or(ready.Loaded, "loaded")})
	}
	if keys := s.CertificateKeys(); len(keys) > 0 {
		d.TLS = status.NewTLS(keys, s.Handshakes(), s.HandshakesWaiting())
	}
	if s.Sessions != nil {
		sessions := s.Sessions(now)
		d.Sessions = &sessions
	}
	d.Key = s.describeKey(now)
	d.Upstream = status.Upstream{
		Healthy: s.Prober.Healthy(), Detail: cmp.Or(s.Prober.Status(), "answers"),
		Address: cfg.Upstream.Address, Probe: cfg.Upstream.PathPrefix + cfg.HealthPath,
	}
	d.Engine = s.describeEngine()
	for _, v := range cfg.InForce {
		d.Settings = append(d.Settings, status.Setting{Name: v.Name, Value: v.Value})
	}
	d.Warnings = slices.Concat(cfg.Warnings, s.Warnings())
}

// describeEngine describes the model server's own figures; nil if it has none.
func (s *Sources) describeEngine() *status.Engine {
	if s.Engine == nil {
		return nil
	}
	e := s.Engine()
	d := &status.Engine{Name: s.Config.Engine(), Fault: e.Fault, Slots: e.Slots}
	if e.Known {
		d.Known, d.Running, d.Waiting, d.Orphans = true, e.Figures.Running, e.Figures.Waiting, e.Orphans
		if cache := e.Figures.Cache; !math.IsNaN(cache) {
			d.Cache = &cache
		}
	}
	return d
}

func (s *Sources) describeKey(now time.Time) status.Key {
	st := s.Keys.Status(now)
	k := status.Key{Source: "USHER_PUBLIC_KEY"}
	switch {
	case s.Config.PublicKeyFile != "":
		k.Source = s.Config.PublicKeyFile
	case len(s.Config.PublicKeyURLs) > 0:
		k.Source = strings.Join(s.Config.PublicKeyURLs, ", ")
	}
	k.Error = s.KeyFault()
	for i, key := range st.Keys {
		print := key.Fingerprint.String()
		switch {
		case i == 0:
			k.Algorithm, k.Fingerprint = key.Algorithm, print
			k.Age, k.InForce = now.Sub(st.Fetched).Seconds(), now.Sub(key.Since).Seconds()
		case key.Until.IsZero():
			k.Others = append(k.Others, status.OtherKey{Algorithm: key.Algorithm, Fingerprint: print})
		default:
			k.Others = append(k.Others, status.OtherKey{Algorithm: key.Algorithm, Fingerprint: print, For: key.Until.Sub(now).Seconds()})
		}
	}
	return k
}
