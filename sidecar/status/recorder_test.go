package status

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/sidecar/account"
)

func TestStripShowsAGapAndItsFilling(t *testing.T) {
	var s Strip
	require.Equal(t, Picture{}, s.Picture(0))
	for _, n := range []int64{7, 8} {
		s.Came(n)
		s.Ran(n)
		s.Ended(n, Served)
	}
	s.Came(10) // ahead of 9
	require.Equal(t, Picture{From: 7, Cells: "ss.w", Marks: "....", Missing: 1}, s.Picture(9))
	s.Came(9)
	s.Ran(9)
	s.Ran(10)
	require.Equal(t, Picture{From: 7, Cells: "ssii", Marks: "..f."}, s.Picture(11))
	s.Came(12)
	s.Ran(12) // 11 is given up …
	require.Equal(t, Picture{From: 7, Cells: "ssiixi", Marks: "..f..."}, s.Picture(13))
	s.Came(11) // … and comes too late
	s.Ran(11)
	for n, end := range map[int64]State{9: Gone, 10: Failed, 11: Refused, 12: Served} {
		s.Ended(n, end)
	}
	require.Equal(t, Picture{From: 7, Cells: "ssgers", Marks: "..f.l."}, s.Picture(13))
}

func TestStripKeepsOldNumbersOut(t *testing.T) {
	var s Strip
	s.Came(1)
	s.Ran(1)
	s.Came(1 + stripCells) // shares its cell
	s.Ended(1, Served)
	p := s.Picture(2)
	require.Equal(t, byte(Waiting), p.Cells[len(p.Cells)-1], "the newer number has the cell")
	require.LessOrEqual(t, len(p.Cells), StripShown)

	s.Restart(3)
	s.Came(3)
	s.Ended(1+stripCells, Served) // of the series before
	require.Equal(t, Picture{From: 3, Cells: "w", Marks: "."}, s.Picture(3))
}

// After a change of key numbering continues, and so does the picture.
func TestStripGoesOnWithAnotherKey(t *testing.T) {
	var s Strip
	for n := range int64(20) {
		s.Came(n)
		s.Ran(n)
	}
	s.Restart(19) // 20 is on its way
	s.Came(21)
	s.Ended(3, Served)
	require.Equal(t, "iiisiiiiiiiiiiiiiiii.w", s.Picture(20).Cells)
	s.Restart(0)
	s.Came(0)
	require.Equal(t, Picture{Cells: "w", Marks: "."}, s.Picture(0))
}

// The number of an unverified ticket fills a hole, and does no more.
func TestStripClaims(t *testing.T) {
	var s Strip
	s.Claimed(1 << 60)
	require.Equal(t, Picture{}, s.Picture(0), "it moves nothing")
	s.Came(10)
	s.Claimed(10)
	s.Claimed(11)
	s.Claimed(-1)
	s.Claimed(10 + stripCells)
	require.Equal(t, "w", s.Picture(10).Cells)
	s.Came(12)
	require.Equal(t, "wrw", s.Picture(10).Cells)
	s.Came(11)
	require.Equal(t, Picture{From: 10, Cells: "www", Marks: ".f."}, s.Picture(10), "the real one comes after all")
}

// A picture is consistent whatever is written at the same time.
func TestStripUnderConcurrency(t *testing.T) {
	var s Strip
	var writers sync.WaitGroup
	for w := range int64(4) {
		writers.Go(func() {
			for n := w; n < 20000; n += 4 {
				s.Came(n)
				s.Ran(n)
				s.Ended(n, Served)
			}
		})
	}
	for range 200 {
		p := s.Picture(0)
		require.Equal(t, len(p.Cells), len(p.Marks))
		require.Regexp(t, `^[.wis]*$`, p.Cells)
		require.Regexp(t, `^[.fl]*$`, p.Marks)
	}
	writers.Wait()
	require.Regexp(t, `^s{240}$`, s.Picture(20000).Cells)
}

// Each bucket holds its own middle, and a duration is within a sixteenth of the
// middle of its bucket.
func TestHistogramBuckets(t *testing.T) {
	for b := range buckets {
		require.Equal(t, b, bucket(time.Duration(middle(b)*1e9)), b)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(int64(8*time.Microsecond), int64(time.Hour)).Draw(t, "d"))
		require.InEpsilon(t, d.Seconds(), middle(bucket(d)), 1.0/15)
	})
	require.Equal(t, 0, bucket(-time.Second))
	require.Equal(t, buckets-1, bucket(1<<62))
}

func TestQuantiles(t *testing.T) {
	var h Histogram
	var before, after counts
	h.Observe(time.Hour) // before the span
	h.read(&before)
	for i := range 1000 {
		h.Observe(time.Duration(i) * time.Millisecond)
	}
	h.read(&after)
	q := between(&before, &after)
	require.EqualValues(t, 1000, q.Count)
	require.InEpsilon(t, 0.5, q.P50, 0.08)
	require.InEpsilon(t, 0.99, q.P99, 0.08)
	require.Equal(t, Quantiles{}, between(&after, &after))
}

func TestRefusalsKeepTheLast(t *testing.T) {
	var r refusals
	require.Empty(t, r.last())
	for i := range RefusalsKept + 7 {
		r.add(Refusal{RequestID: strconv.Itoa(i)})
	}
	list := r.last()
	require.Len(t, list, RefusalsKept)
	require.Equal(t, strconv.Itoa(RefusalsKept+6), list[0].RequestID)
	require.Equal(t, "7", list[RefusalsKept-1].RequestID)
	require.Equal(t, list[0].Seq, list[1].Seq+1)
}

func TestHistory(t *testing.T) {
	r := NewRecorder()
	start := time.Unix(1000, 0)
	end := func(o account.Outcome, n int) {
		for range n {
			r.Ended(&account.Request{Outcome: o})
		}
	}
	for step := 1; step <= historyPoints+20; step++ {
		end(account.OK, 50)
		end(account.ReqnumStale, 1)
		r.firstByte.Observe(20 * time.Millisecond)
		r.Sample(start.Add(time.Duration(step)*HistoryStep), Sample{InFlight: step})
	}
	var s Snapshot
	r.Complete(&s)
	require.Len(t, s.History, historyPoints)
	last := s.History[historyPoints-1]
	require.EqualValues(t, 1000+5*(historyPoints+20), last.At)
	require.Equal(t, last.At-int64(HistorySpan/time.Second)+5, s.History[0].At)
	require.InDelta(t, 10, last.Rates[0], 1e-9)
	require.InDelta(t, 0.2, last.Rates[1], 1e-9)
	require.InEpsilon(t, 0.02, last.FirstByte.P50, 0.08)
	require.EqualValues(t, 12*50, s.Now[0].Minute)
	require.InDelta(t, 10, s.Now[0].PerSecond, 1e-9)
	require.Equal(t, []Reason{{Code: "reqnum_stale", Class: account.ClassTicket, Minute: 12, Total: uint64(historyPoints) + 20,
		Reason: notes[account.ReqnumStale].Reason, Advice: notes[account.ReqnumStale].Advice}}, s.Reasons)
	require.EqualValues(t, 12, s.Latency.FirstByte.Count)

	news := s.news(last.At-5, 0)
	require.Len(t, news.History, 1)

	// A sample that was late has a longer step to account for.
	end(account.OK, 150)
	r.Sample(time.Unix(last.At, 0).Add(3*HistoryStep), Sample{})
	r.Complete(&s)
	require.InDelta(t, 10, s.History[historyPoints-1].Rates[0], 1e-9)
	require.InDelta(t, 10, s.Now[0].PerSecond, 1e-9)
}

func BenchmarkRecorder(b *testing.B) {
	r := NewRecorder()
	request := account.Request{Ticket: account.Ticket{Reserved: true}}
	b.Run("request", func(b *testing.B) { // all that one request costs, but for its tokens
		b.ReportAllocs()
		for n := int64(0); b.Loop(); n++ {
			r.Strip.Came(n)
			r.Waited(0, 0)
			r.Strip.Ran(n)
			request.Ticket.Reqnum, request.Times.FirstByte = n, time.Duration(n)*time.Microsecond
			r.FirstByte(&request)
			r.Ended(&request)
		}
	})
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Gap(25 * time.Millisecond)
		}
	})
	b.Run("refusal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Ended(&account.Request{ID: "r", Outcome: account.QueueFull})
		}
	})
	b.Run("request, both cores", func(b *testing.B) {
		b.ReportAllocs()
		var next sync.Mutex
		n := int64(0)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				next.Lock()
				n++
				mine := n
				next.Unlock()
				r.Strip.Came(mine)
				r.Strip.Ran(mine)
				r.Strip.Ended(mine, Served)
			}
		})
	})
}

// The recorder allocates nothing on the data path.
func TestRecorderAllocatesNothing(t *testing.T) {
	r := NewRecorder()
	served := account.Request{Ticket: account.Ticket{Reserved: true}}
	forged := account.Request{Outcome: account.BadSignature}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		served.Ticket.Reqnum++
		r.Strip.Came(served.Ticket.Reqnum)
		r.Waited(0, time.Millisecond)
		r.Strip.Ran(served.Ticket.Reqnum)
		r.FirstByte(&served)
		r.Gap(time.Millisecond)
		r.Ended(&served)
		forged.Ticket.Reqnum = served.Ticket.Reqnum + 1
		r.Ended(&forged)
	}))
}

// The points of the charts stay in order when the wall clock is set: a page accepts only
// points later than those it has.
func TestHistoryStaysInOrderWhenTheClockIsSet(t *testing.T) {
	r := NewRecorder()
	start := time.Now()
	r.Sample(start, Sample{})
	back := start.Add(HistoryStep)
	// An hour less by the wall clock, which stands from bit 30 of the first word on.
	*(*uint64)(unsafe.Pointer(&back)) -= 3600 << 30
	require.Equal(t, start.Add(HistoryStep).Unix()-3600, back.Unix())
	for range 5 {
		r.Ended(&account.Request{})
	}
	r.Sample(back, Sample{})
	var s Snapshot
	r.Complete(&s)
	require.Len(t, s.History, 2)
	require.Equal(t, s.History[0].At+5, s.History[1].At)
	require.InDelta(t, 1, s.History[1].Rates[0], 1e-9)
}

// Every outcome has a note for operators.
func TestOutcomesHaveNotes(t *testing.T) {
	for o := range account.Outcomes {
		require.NotEmpty(t, notes[o].Reason, o.String())
		require.False(t, strings.HasSuffix(notes[o].Reason, "."), o.String())
		if o.Class() != account.ClassServed {
			require.Regexp(t, `^[A-Z0-9].*\.$`, notes[o].Advice, o.String())
		}
	}
}

// For a request with a valid number, the strip shows whose fault its end was.
func TestEndsShowOnTheStrip(t *testing.T) {
	r := NewRecorder()
	for n, o := range []account.Outcome{account.OK, account.ClientGone, account.UpstreamBroken, account.QueueFull} {
		r.Strip.Came(int64(n))
		r.Strip.Ran(int64(n))
		r.Ended(&account.Request{Outcome: o, Ticket: account.Ticket{Reqnum: int64(n), Reserved: true}})
	}
	require.Equal(t, "sger", r.Strip.Picture(4).Cells)
}
