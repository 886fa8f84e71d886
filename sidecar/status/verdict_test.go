package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
)

func TestVerdict(t *testing.T) {
	now := time.Unix(1000, 0)
	rates := func(minute map[account.Class]uint64) []Rate {
		list := make([]Rate, len(account.Classes))
		for i, c := range account.Classes {
			list[i] = Rate{c, float64(minute[c]) / 60, minute[c]}
		}
		return list
	}
	// base is a sidecar at work, with nothing wrong.
	base := func() Snapshot {
		return Snapshot{
			At: now, Ready: true, Checks: []Check{{"public key", true, ""}, {CheckDraining, true, ""}},
			Key: Key{Algorithm: "RSA-2048"}, Upstream: Upstream{Healthy: true},
			Load: Load{InFlight: 3, Slots: 8, Capacity: 10}, Now: rates(map[account.Class]uint64{account.ClassServed: 600}),
		}
	}
	for name, tt := range map[string]struct {
		change func(*Snapshot)
		level  Level
		want   string
		short  [4]string // of the answers
	}{
		"at work": {func(*Snapshot) {}, Good,
			"Letting requests in, 10/s served, and the model server keeps up (3 of 8 slots taken).",
			[4]string{"Yes, 10/s", "No", "Nobody", "Nobody waits"}},
		"an orphan": {func(s *Snapshot) { s.Engine = &Engine{Known: true, Orphans: 1} }, Warn,
			"Letting requests in, 10/s served, and the model server keeps up (3 of 8 slots taken). " +
				"The model server is running 1 request that no client of Usher is waiting for: either it did not notice that it was cancelled, or something else sends it requests.",
			[4]string{"Yes, 10/s", "No", "Nobody", "Nobody waits"}},
		"orphans": {func(s *Snapshot) { s.Engine = &Engine{Known: true, Orphans: 3}; s.Now = rates(nil) }, Warn,
			"Ready and idle: no request in the last minute. " +
				"The model server is running 3 requests that no client of Usher is waiting for: either it did not notice that they were cancelled, or something else sends it requests.",
			[4]string{"Yes, idle", "No", "Nobody", "Nobody waits"}},
		"no orphans": {func(s *Snapshot) { s.Engine = &Engine{Known: true} }, Good,
			"Letting requests in, 10/s served, and the model server keeps up (3 of 8 slots taken).",
			[4]string{"Yes, 10/s", "No", "Nobody", "Nobody waits"}},
		"idle": {func(s *Snapshot) { s.Now = rates(nil) }, Good,
			"Ready and idle: no request in the last minute.",
			[4]string{"Yes, idle", "No", "Nobody", "Nobody waits"}},
		"no key": {func(s *Snapshot) { s.Ready, s.Key, s.Now = false, Key{Error: "refused"}, rates(nil) }, Bad,
			"Letting nothing in: there is no public key yet to verify tickets with.",
			[4]string{"No", "No", "Nobody", "Nobody waits"}},
		"model server down": {func(s *Snapshot) {
			s.Ready, s.Upstream = false, Upstream{Detail: "connection refused"}
			s.Checks[0] = Check{"model server", false, "connection refused"}
			s.Now = rates(map[account.Class]uint64{account.ClassModel: 10})
		}, Bad, "Not ready: the model server does not answer its health probe.",
			[4]string{"Not ready", "It is down", "Nobody", "Nobody waits"}},
		"measuring": {func(s *Snapshot) {
			s.Ready, s.Now = false, rates(nil)
			s.Checks = append(s.Checks, Check{CheckLoaded, false, "benchmark: run 3 of 8, 1,240 workload/s so far"})
		}, Warn, "Not loaded yet: benchmark: run 3 of 8, 1,240 workload/s so far.",
			[4]string{"Not yet", "No", "Nobody", "Nobody waits"}},
		"draining": {func(s *Snapshot) { s.Ready, s.Checks[1].OK = false, false; s.Now = rates(nil) }, Warn,
			"Draining, with 3 requests still in flight.",
			[4]string{"Draining", "No", "Nobody", "Nobody waits"}},
		"full": {func(s *Snapshot) {
			s.Load.InFlight, s.Load.Waiting = 8, 5
			s.Latency.Queue = Quantiles{100, 2, 4}
		}, Warn, "Letting requests in, 10/s served, the model server is the bottleneck: 8 of 8 slots taken and 5 wait, " +
			"and people wait for a free slot, half of them 2.0 s and 1 in 100 over 4.0 s.",
			[4]string{"Yes, 10/s", "Yes", "Nobody", "p99 4.0 s"}},
		"full at times": {func(s *Snapshot) { s.Load.InFlight = 8; s.Latency.Queue = Quantiles{100, 0, 0.02} }, Good,
			"Letting requests in, 10/s served, the model server is full at times (8 of 8 slots taken), and people wait for a free slot, 1 in 100 over 20 ms.",
			[4]string{"Yes, 10/s", "At times", "Nobody", "p99 20 ms"}},
		"held for gaps": {func(s *Snapshot) { s.Latency.Hold = Quantiles{100, 0, 0.04} }, Good,
			"Letting requests in, 10/s served, the model server keeps up (3 of 8 slots taken), and people wait for missing numbers, 1 in 100 over 40 ms.",
			[4]string{"Yes, 10/s", "No", "Nobody", "p99 40 ms"}},
		"refusing": {func(s *Snapshot) {
			s.Now = rates(map[account.Class]uint64{account.ClassServed: 90, account.ClassTicket: 10})
			s.Reasons = []Reason{{Code: "client_gone", Class: account.ClassGone, Minute: 50}, {Code: "reqnum_replayed", Class: account.ClassTicket, Minute: 10, Reason: "the ticket was used already"}}
			s.Refusals = []Refusal{{At: now, Client: "203.0.113.9"}, {At: now, Client: "203.0.113.9"}, {At: now.Add(-time.Hour), Client: "x"}}
		}, Warn, "Letting requests in, 1.5/s served, the model server keeps up (3 of 8 slots taken), and 10 % are refused because the ticket was used already.",
			[4]string{"Yes, 1.5/s", "No", "10 % of all", "Nobody waits"}},
		"failed": {func(s *Snapshot) {
			s.Now = rates(map[account.Class]uint64{account.ClassServed: 80, account.ClassModel: 20})
			s.Now[index(account.ClassModel)].PerSecond = 0
		}, Warn, "Letting requests in, 1.3/s served, and the model server failed 20 % of them in the last minute, but none in the last seconds.",
			[4]string{"Yes, 1.3/s", "It failed", "Nobody", "Nobody waits"}},
		"failing": {func(s *Snapshot) {
			s.Now = rates(map[account.Class]uint64{account.ClassServed: 80, account.ClassModel: 20})
		}, Bad,
			"Letting requests in, 1.3/s served, and the model server fails 20 % of them.",
			[4]string{"Yes, 1.3/s", "It fails", "Nobody", "Nobody waits"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := base()
			tt.change(&s)
			s.judge()
			require.Equal(t, tt.want, s.Verdict.Text)
			require.Equal(t, tt.level, s.Verdict.Level)
			for i, a := range s.Answers {
				require.Equal(t, tt.short[i], a.Short, a.Question)
				require.Regexp(t, `^[A-Z0-9].*\.$`, a.Detail)
			}
		})
	}
	s := base()
	s.Refusals = []Refusal{{At: now, Client: "203.0.113.9"}}
	s.Now = rates(map[account.Class]uint64{account.ClassTicket: 1})
	s.judge()
	require.Contains(t, s.Answers[2].Detail, "1 of the last 1 came from 203.0.113.9")
}

func TestWords(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0 ms", 0.0004: "0.4 ms", 0.00001: "0 ms", 0.25: "250 ms", 2: "2.0 s", 61: "61 s", 3700: "1 h 1 min", 200000: "2 d 7 h"} {
		require.Equal(t, want, span(seconds))
	}
	require.Equal(t, "under 0.1 %", percent(1, 100000))
	require.Equal(t, "0 %", percent(0, 0))
	require.Equal(t, "12 s", age(12.9))
	require.Equal(t, "Éa: b.", sentence("éa", "b."))
	require.Empty(t, sentence("", ""))
}
