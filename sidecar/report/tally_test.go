package report

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestTallyAgainstAModel lets requests begin and end, and reports succeed or fail, in
// any order. What was acknowledged must then equal what happened.
func TestTallyAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tally := NewTally(32)
		base := baseline{tally: tally}
		var out batch
		type request struct {
			work     Work
			workload float64
			index    string
		}
		var working []*request
		var sum struct{ received, withdrawn, rejected, served float64 }
		var told struct{ taken, rejected, served float64 }
		ends := map[string]End{}
		toldEnds := map[string]End{}
		number := 0
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				if len(working) >= 32 {
					t.Skip("as many as there may be")
				}
				// Sixteenths: their sums are exact in floats, too.
				r := &request{workload: float64(rapid.IntRange(0, 1<<20).Draw(t, "workload")) / 16}
				if rapid.Bool().Draw(t, "indexed") {
					number++
					r.index = strconv.Itoa(number)
				}
				r.work = tally.Begin(r.workload, r.index)
				working = append(working, r)
				sum.received += r.workload
			},
			"end": func(t *rapid.T) {
				if len(working) == 0 {
					t.Skip("none in work")
				}
				i := rapid.IntRange(0, len(working)-1).Draw(t, "which")
				r := working[i]
				working = append(working[:i], working[i+1:]...)
				end := End(rapid.IntRange(int(Served), int(Refused)).Draw(t, "end"))
				tally.End(&r.work, end, Times{})
				tally.End(&r.work, end, Times{}) // nothing more
				switch end {
				case Served:
					sum.served += r.workload
				case TurnedAway:
					sum.rejected += r.workload
					sum.withdrawn += r.workload
				case Cancelled, Refused:
					sum.withdrawn += r.workload
				}
				if r.index != "" {
					ends[r.index] = end
				}
			},
			"report": func(t *rapid.T) {
				c := tally.counts()
				d := base.since(c)
				require.GreaterOrEqual(t, d.taken, int64(0))
				if rapid.Bool().Draw(t, "acknowledged") {
					base.acknowledge(c, d)
					told.taken += workload(d.taken)
					told.rejected += workload(d.rejected)
					told.served += workload(d.served)
				}
			},
			"name the ended": func(t *rapid.T) {
				out.fill(tally)
				if rapid.Bool().Draw(t, "acknowledged") {
					for _, e := range out.entries {
						require.NotContains(t, toldEnds, e.index, "twice")
						toldEnds[e.index] = e.end
					}
					out.acknowledge(tally)
				}
			},
			"": func(t *rapid.T) {
				c := tally.counts()
				inWork, indexes := 0.0, 0
				for _, r := range working {
					inWork += r.workload
					if r.index != "" {
						indexes++
					}
				}
				require.Equal(t, inWork, workload(c.load))
				require.EqualValues(t, len(working), c.working)
				require.Len(t, tally.named.indexes(nil), indexes)
				d := base.since(c)
				require.Equal(t, sum.rejected, told.rejected+workload(d.rejected))
				require.Equal(t, sum.served, told.served+workload(d.served))
				if d.taken > 0 {
					require.Equal(t, sum.received-sum.withdrawn, told.taken+workload(d.taken))
				} else {
					require.LessOrEqual(t, sum.received-sum.withdrawn, told.taken)
				}
			},
		})
		// The last ones are all named, and none twice.
		out.fill(tally)
		for _, e := range out.entries {
			require.NotContains(t, toldEnds, e.index, "twice")
			toldEnds[e.index] = e.end
		}
		require.Equal(t, ends, toldEnds)
	})
}

// TestTallyUnderContention has eight goroutines count while reports go out.
func TestTallyUnderContention(t *testing.T) {
	const each, writers = 5000, 8
	tally := NewTally(writers)
	base := baseline{tally: tally}
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				work := tally.Begin(1.5, strconv.Itoa(w*each+i))
				tally.End(&work, Served, Times{})
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); wait.Wait() }()
	seen := map[string]int{}
	served := int64(0)
	var out batch
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		c := tally.counts()
		d := base.since(c)
		served += d.served
		base.acknowledge(c, d)
		_ = tally.named.indexes(nil)
		for out.fill(tally); len(out.entries) > 0; out.fill(tally) {
			for _, e := range out.entries {
				seen[e.index]++
			}
			out.acknowledge(tally)
		}
	}
	require.EqualValues(t, 1.5*each*writers, workload(served))
	require.EqualValues(t, each*writers, len(seen)+int(tally.ended.dropped.Load()))
	for index, n := range seen {
		require.Equal(t, 1, n, index)
	}
	require.Zero(t, tally.counts().load)
	require.Zero(t, tally.counts().working)
}

// If there are too many, the oldest are dropped and counted, including those of a batch
// that could not be sent.
func TestTheOldestEndsAreDropped(t *testing.T) {
	tally := NewTally(1)
	put := func(n int) {
		work := tally.Begin(1, strconv.Itoa(n))
		tally.End(&work, Failed, Times{})
	}
	for n := range maxWaiting {
		put(n)
	}
	var out batch
	out.fill(tally)
	require.Len(t, out.entries, maxBatch)
	require.Equal(t, "0", out.entries[0].index)
	require.Zero(t, tally.ended.dropped.Load())
	for n := range 100 {
		put(maxWaiting + n)
	}
	out.failed(tally)
	require.EqualValues(t, 100, tally.ended.dropped.Load()+out.dropped.Load())
	require.Equal(t, "100", out.entries[0].index)
	for n := range maxWaiting {
		put(2*maxWaiting + n)
	}
	out.failed(tally)
	require.EqualValues(t, maxWaiting+100, tally.ended.dropped.Load()+out.dropped.Load())
	require.Empty(t, out.entries)
	out.fill(tally)
	require.Equal(t, strconv.Itoa(2*maxWaiting), out.entries[0].index)
}

// Ends that no report names do not pile up, and none of them is missing.
func TestReportsOf2024KeepNoEnds(t *testing.T) {
	tally := NewTally(Generation2024.Names(64))
	for range maxWaiting + 1 {
		w := tally.Begin(1, "7")
		tally.End(&w, Served, Times{})
	}
	require.Zero(t, (&Reporter{options: Options{Tally: tally}}).Dropped())
	require.Equal(t, 64, Generation2026.Names(64))
}

// Absurd costs overflow nothing.
func TestAbsurdWorkloads(t *testing.T) {
	tally := NewTally(0)
	base := baseline{tally: tally}
	var all []Work
	for range 100 {
		all = append(all, tally.Begin(1e300, "1"))
	}
	c := tally.counts()
	require.Positive(t, c.load)
	require.Positive(t, base.since(c).taken)
	require.EqualValues(t, 100, c.working)
	for i := range all {
		tally.End(&all[i], Served, Times{})
	}
	require.Zero(t, tally.counts().load)
	require.Positive(t, base.since(tally.counts()).served)
	var none Work
	tally.End(&none, Served, Times{})
	require.Zero(t, tally.counts().working)
}

func TestCountingAllocatesNothing(t *testing.T) {
	tally := NewTally(16)
	var out batch
	count := func() {
		work := tally.Begin(256, "14395")
		tally.End(&work, Served, Times{Started: time.Unix(1, 0), Completed: time.Unix(2, 0)})
		out.fill(tally)
		out.acknowledge(tally)
	}
	count()
	tally.ended = newRing(8) // scanned quickly
	if n := testing.AllocsPerRun(2000, count); n >= 1 {
		t.Errorf("%v allocations a request", n)
	}
	require.Equal(t, 256.0, tally.counts().speed)
}

func BenchmarkTally(b *testing.B) {
	tally := NewTally(16384)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			work := tally.Begin(256, "")
			tally.End(&work, Served, Times{})
		}
	})
}

// BenchmarkTallyIndexed measures requests with an index. Nobody takes the entries, so
// they are dropped, which makes it allocate.
func BenchmarkTallyIndexed(b *testing.B) {
	tally := NewTally(16384)
	b.ReportAllocs()
	for b.Loop() {
		work := tally.Begin(256, "14395")
		tally.End(&work, Served, Times{})
	}
}
