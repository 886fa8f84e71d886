package admin

import (
	"math"
	"time"

	"github.com/usher-sidecar/usher/sidecar/engine"
	"github.com/usher-sidecar/usher/sidecar/metrics"
)

// registerGauges registers figures that are kept elsewhere and read at each scrape.
func registerGauges(m *metrics.Metrics, s *Sources) {
	m.Gauge("usher_in_flight", "Requests at the model server.", func() float64 { return float64(s.Buffer.Stats().InFlight) })
	m.Gauge("usher_waiting", "Requests that wait, including held ones.", func() float64 { return float64(s.Buffer.Stats().Waiting) })
	m.Gauge("usher_held", "Requests held for a missing number while a slot is free.", func() float64 { return float64(s.Buffer.Stats().Held) })
	m.Gauge("usher_waiting_bytes", "Bytes of request bodies that wait.", func() float64 { return float64(s.Buffer.Stats().WaitingBytes) })
	m.Gauge("usher_reading_bytes", "Memory of request bodies being read and checked, not counting the first 16 KiB of each.", func() float64 { return float64(s.ReadingBytes()) })
	m.Gauge("usher_slots", "Limit on requests at the model server; 0: no limit.", func() float64 { return float64(s.Buffer.Stats().Slots) })
	m.Gauge("usher_learned_hold_seconds", "How long a request ahead of a gap is held at present.", func() float64 { return s.Buffer.Stats().Hold.Seconds() })
	m.Gauge("usher_reordered_ratio", "Share of the requests admitted in the last five minutes that went after one with a higher number; 0 if there were none.", s.reorderedRatio)
	m.Gauge("usher_upstream_up", "1 while the model server counts as healthy.", func() float64 { return truth(s.Prober.Healthy()) })
	m.Gauge("usher_ready", "1 while requests may be sent here.", func() float64 { return truth(s.Ready().OK()) })
	m.Gauge("usher_public_key_fetched_timestamp_seconds", "When the key in force was last read, in Unix time; 0 without a key.", s.keyFetched)
	m.Gauge("usher_public_key_age_seconds", "Time since the key in force was last read, by this machine's clock; 0 without a key.", s.keyAge)
	m.Gauge("usher_certificate_expiry_seconds", "Time until the certificate in force expires, by this machine's clock; below 0 when it has, +Inf without TLS.", s.certificateExpiry)
	m.Gauge("usher_replay_window_highest", "Highest verified reqnum; -1 before the first.", func() float64 { return float64(s.Ledger.Stats().Highest) })
	m.Gauge("usher_connections", "Open client connections.", func() float64 { return float64(s.Connections()) })

	registerEngine(m, s.Engine)

	m.Total("usher_reordered_total", "Requests admitted after one with a higher number (RFC 4737).", func() float64 { return float64(s.Buffer.Stats().Reordered) })
	m.Total("usher_held_total", "Requests that were held for a missing number, however briefly.", func() float64 { return float64(s.Buffer.Stats().HeldTotal) })
	m.Total("usher_late_total", "Requests that came after their gap was given up.", func() float64 { return float64(s.Buffer.Stats().Late) })
	m.Total("usher_gaps_opened_total", "Numbers found missing.", func() float64 { return float64(s.Buffer.Stats().GapsOpened) })
	m.Total("usher_gaps_filled_total", "Missing numbers that came in time.", func() float64 { return float64(s.Buffer.Stats().GapsFilled) })
	m.Total("usher_gaps_given_up_total", "Missing numbers that were waited for in vain.", func() float64 { return float64(s.Buffer.Stats().GapsGivenUp) })
	m.Total("usher_replay_window_resets_total", "Times that numbering was found to have restarted.", func() float64 { return float64(s.Ledger.Stats().Resets) })
	m.Total("usher_connections_evicted_total", "Idle client connections closed to make room for new ones.", func() float64 { return float64(s.Evicted()) })
	m.Totals("usher_tls_handshakes_total", "TLS handshakes by how they ended: full, resumed, gone, timeout, crowded (too many waited), plaintext, rejected (by the client), unverified (no valid client certificate), failed.", "outcome", s.Handshakes)
	m.Gauge("usher_tls_handshakes_waiting", "TLS handshakes waiting for their turn.", func() float64 { return float64(s.HandshakesWaiting()) })
	m.Total("usher_state_file_faults_total", "Faults of the state file found while in use (truncated, removed, replaced, changed, not writable), including failed attempts to recreate it.", func() float64 { return float64(s.Ledger.Stats().FileFaults) })
	m.Totals("usher_log_lines_left_out_total", "Lines left out of the log, because of a flood of refusals or because the log was not being read.", "outcome", s.LinesLeftOut)
	m.Total("usher_upstream_dials_total", "Connections opened to the model server.", func() float64 { return float64(s.Upstream.Stats().Dials) })
}

// registerEngine registers the model server's own figures. A figure that it does not
// report, or that could not be read at the last probe, is absent.
func registerEngine(m *metrics.Metrics, state func() engine.State) {
	if state == nil {
		return
	}
	for _, g := range []struct {
		name, help string
		read       func(engine.State) float64
	}{
		{"usher_engine_running", "Requests running, according to the model server; absent while it cannot be read.", func(e engine.State) float64 { return float64(e.Figures.Running) }},
		{"usher_engine_waiting", "Requests waiting in the model server's own queue, according to it; absent while it cannot be read.", func(e engine.State) float64 { return float64(e.Figures.Waiting) }},
		{"usher_engine_cache_ratio", "Share of the model server's KV cache that is in use; absent if it does not report that.", func(e engine.State) float64 { return e.Figures.Cache }},
		{"usher_engine_orphans", "Requests that the model server has had for over ten seconds beyond those that Usher sent; absent while it cannot be read.", func(e engine.State) float64 { return float64(e.Orphans) }},
	} {
		m.Optional(g.name, g.help, func() (float64, bool) {
			e := state()
			v := g.read(e)
			return v, e.Known && !math.IsNaN(v)
		})
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reorderedRatio is the share admitted out of order in the last reorder.ShareSpan.
func (s *Sources) reorderedRatio() float64 {
	b := s.Buffer.Stats()
	if b.RecentAdmitted == 0 {
		return 0
	}
	return float64(b.RecentReordered) / float64(b.RecentAdmitted)
}

// certificateExpiry is the time until the certificate expires, in seconds.
func (s *Sources) certificateExpiry() float64 {
	end := s.CertificateExpiry()
	if end.IsZero() {
		return math.Inf(1)
	}
	return time.Until(end).Seconds()
}

// keyFetched is when the keys were last read, in Unix seconds.
func (s *Sources) keyFetched() float64 {
	fetched := s.Keys.Status(time.Now()).Fetched
	if fetched.IsZero() {
		return 0
	}
	return float64(fetched.UnixMilli()) / 1000
}

// keyAge is how long ago that was, in seconds.
func (s *Sources) keyAge() float64 {
	now := time.Now()
	fetched := s.Keys.Status(now).Fetched
	if fetched.IsZero() {
		return 0
	}
	return now.Sub(fetched).Seconds()
}
