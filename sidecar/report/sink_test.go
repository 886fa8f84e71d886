package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// Every outcome has an end. Requests refused for a fault of the client or its ticket do
// not count as load that was turned away.
func TestEndOfEachOutcome(t *testing.T) {
	ends := map[account.Outcome]End{
		account.OK: Served, account.UpstreamRefused: Answered,
		account.ClientGone: Cancelled, account.ClientStalled: Cancelled,
		account.CostExceeded: TurnedAway, account.QueueFull: TurnedAway, account.QueueTimeout: TurnedAway, account.Draining: TurnedAway,
		account.UpstreamError: Failed, account.UpstreamUnreachable: Failed, account.UpstreamBroken: Failed,
		account.UpstreamTimeout: Failed, account.Cut: Failed, account.Internal: Failed,
	}
	for o := range account.Outcomes {
		want, ok := ends[o]
		if !ok {
			want = Refused
		}
		require.Equal(t, want, endOf(&account.Request{Outcome: o, Status: 200}), o.String())
	}
	require.Equal(t, Answered, endOf(&account.Request{Outcome: account.OK, Status: 307}))
}

func TestStagesOfARequest(t *testing.T) {
	start := time.Unix(1000, 0)
	r := account.Request{Outcome: account.OK}
	r.Times = account.Times{VerifyAt: start, Verify: time.Second, Sent: start.Add(3 * time.Second), End: start.Add(9 * time.Second)}
	r.Ticket.Admitted = true
	require.Equal(t, Times{Queued: start.Add(time.Second), Started: r.Times.Sent, Completed: r.Times.End}, timesOf(&r))
	r.Outcome, r.Times.Sent = account.UpstreamUnreachable, time.Time{}
	require.Equal(t, Times{Queued: start.Add(time.Second)}, timesOf(&r), "nothing was sent after all")
	r.Ticket.Admitted, r.Times.Sent, r.Outcome = false, time.Time{}, account.CostExceeded
	require.Zero(t, timesOf(&r), "it never waited")
	r.Times.Queue, r.Outcome = time.Second, account.QueueTimeout
	require.Equal(t, Times{Queued: start.Add(time.Second)}, timesOf(&r))
}

// A request is counted once, from its verification to its end, without allocating. One
// that was not verified is not counted.
func TestCounter(t *testing.T) {
	tally := NewTally(4)
	c := NewCounter(tally)
	var unverified account.Request
	c.Ended(&unverified)
	require.Zero(t, tally.counts())

	r := account.Request{Ticket: account.Ticket{Workload: 12, Index: "3"}, Status: 200}
	c.Accepted(&r)
	require.EqualValues(t, 1, tally.counts().working)
	c.Ended(&r)
	c.Ended(&r)
	require.Equal(t, int64(0), tally.counts().working)
	require.Equal(t, 12.0, workload(tally.counts().served))

	tally.ended = newRing(8) // scanned quickly
	var out batch
	allocations := testing.AllocsPerRun(2000, func() {
		c.Accepted(&r)
		c.Ended(&r)
		out.fill(tally)
		out.acknowledge(tally)
	})
	require.Less(t, allocations, 1.0)
}
