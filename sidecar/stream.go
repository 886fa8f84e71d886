package sidecar

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/relay"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// streams holds the loops that run streams between their head and their end, so that
// these need no goroutine each. Without a loop every stream keeps its goroutine.
type streams struct {
	loops []*loop.Loop
	turn  atomic.Uint32
}

// processorsPerLoop sets how many loops there are. One loop can pass on more than a
// hundred thousand tokens a second; the others are there so that it never has to.
const processorsPerLoop = 4

// loopsWanted returns how many loops there are where there are any.
func loopsWanted() int { return max(runtime.GOMAXPROCS(0)/processorsPerLoop, 1) }

func newStreams(silence time.Duration) (*streams, error) {
	s := new(streams)
	for range loopsWanted() {
		l, err := loop.New(silence)
		if l == nil {
			return s, err
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// run runs the loops until close.
func (s *streams) run() {
	var all sync.WaitGroup
	for _, l := range s.loops {
		all.Go(l.Run)
	}
	all.Wait()
}

func (s *streams) close() {
	for _, l := range s.loops {
		l.Close()
	}
}

// next returns the loop for the next stream.
func (s *streams) next() *loop.Loop {
	return s.loops[int(s.turn.Add(1))%len(s.loops)]
}

// lend hands the answer, which has begun, over to a loop if it is suitable: an event
// stream of which nothing more has arrived yet. If so, it is the last thing that the
// exchange's goroutine does.
func (a *answer) lend() bool {
	x := a.x
	if len(x.h.model.streams.loops) == 0 || !x.account.Answer.EventStream || !a.resp.CanPoll() || !x.conn.CanLend() {
		return false
	}
	a.resp.ReleaseHead()
	a.taker = x.conn.Taker()
	x.conn.Lend(a.run)
	return true
}

// run makes a loop run the answer from here on; if that fails, a goroutine does.
func (a *answer) run() {
	if err := a.x.h.model.streams.next().Add(&a.member, a, a.resp, a.x.conn); err != nil {
		go a.alone() // the line was closed meanwhile, or the kernel is out of resources
		return
	}
	a.x.attach(&a.member)
}

// Handle implements loop.Stream.
func (a *answer) Handle(e loop.Event, now time.Time) loop.Want {
	if e&loop.Readable != 0 {
		a.resp.Arrived(e&loop.Last != 0)
	}
	switch {
	case e&loop.Silent != 0:
		a.relay.Fail(upstream.ErrTimeout)
		return loop.Nothing
	case e&loop.Woken != 0 && a.x.why() != nil:
		a.relay.Fail(upstream.ErrCanceled)
		return loop.Nothing
	}
	switch a.relay.Advance(a.taker, now) {
	case relay.Starved:
		return loop.Source
	case relay.Full:
		return loop.Sink
	case relay.Busy:
		return loop.Turn
	}
	return loop.Nothing
}

// Ended implements loop.Stream. A complete answer is accounted for at once. One that
// broke may have to wait for its client, so it gets a goroutine.
func (a *answer) Ended(fault *loop.Fault) {
	if fault == nil && a.relay.Whole() {
		a.end(nil)
		return
	}
	go a.end(fault)
}

// end finishes an answer that a loop ran, and gives the connection back.
func (a *answer) end(fault *loop.Fault) {
	defer a.x.conn.GiveBack()
	defer a.recoverPanic()
	if fault != nil {
		a.broke(fault.Value, fault.Stack)
		return
	}
	a.finish(a.relay.Result())
}

// alone runs the answer to its end without a loop.
func (a *answer) alone() {
	defer a.x.conn.GiveBack()
	defer a.recoverPanic()
	a.finish(a.relay.Run(nil))
}

// recoverPanic is deferred. It passes a panic on to broke.
func (a *answer) recoverPanic() {
	if fault := recover(); fault != nil {
		a.broke(fault, debug.Stack())
	}
}

// broke keeps a panic from ending more than this answer. The client sees that the
// answer was broken off.
func (a *answer) broke(fault any, stack []byte) {
	x := a.x
	a.relay.Record()
	x.h.faults.endCall(x, fault, stack)
	x.h.faults.breakOff(x)
}
