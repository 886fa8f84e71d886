package sidecar

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/relay"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// streams are the loops that run streams between their head and their end, without a
// goroutine each. Without a loop every stream keeps its goroutine.
type streams struct {
	loops []*loop.Loop
	turn  atomic.Uint32
}

// One loop passes on more than a hundred thousand tokens a second; the others are
// there so that it need not.
const processorsPerLoop = 4

func newStreams(silence time.Duration) (*streams, error) {
	s := new(streams)
	for range max(runtime.GOMAXPROCS(0)/processorsPerLoop, 1) {
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

// next is the loop for the next stream.
func (s *streams) next() *loop.Loop {
	return s.loops[int(s.turn.Add(1))%len(s.loops)]
}

// A stream is the answer of an exchange while a loop runs it.
type stream struct {
	x     *exchange
	resp  *upstream.Response
	relay *relay.Relay
}

// lend gives an answer that has begun into the hands of a loop, if it is one for it:
// an event stream over plain TCP, of which nothing is here at the moment. It is the
// last thing that the exchange's goroutine does then.
func (x *exchange) lend(resp *upstream.Response, r *relay.Relay) bool {
	if len(x.h.streams.loops) == 0 || !x.account.Answer.EventStream || !resp.CanPoll() || !x.conn.CanLend() {
		return false
	}
	resp.ReleaseHead()
	s := &stream{x, resp, r}
	x.conn.Lend(s.begin)
	return true
}

// begin has a loop run the stream.
func (s *stream) begin() {
	member, err := s.x.h.streams.next().Add(s, s.resp, s.x.conn)
	if err != nil {
		go s.alone() // the line was cancelled meanwhile, or the kernel has no room
		return
	}
	s.x.attach(member)
}

// Happened implements loop.Stream.
func (s *stream) Happened(h loop.Happening, now time.Time) loop.Want {
	if h&loop.Readable != 0 {
		s.resp.Arrived(h&loop.Last != 0)
	}
	switch {
	case h&loop.Silent != 0:
		s.relay.Fail(upstream.ErrTimeout)
		return loop.Nothing
	case h&loop.Woken != 0 && s.x.why() != nil:
		s.relay.Fail(upstream.ErrCanceled)
		return loop.Nothing
	}
	switch s.relay.Advance(now) {
	case relay.Starved:
		return loop.Source
	case relay.Full:
		return loop.Sink
	case relay.Busy:
		return loop.Turn
	}
	return loop.Nothing
}

// Ended implements loop.Stream. What is whole is settled at once; what broke may have
// to wait for the client.
func (s *stream) Ended(fault *loop.Fault) {
	if fault == nil && s.relay.Whole() {
		s.settle(nil)
		return
	}
	go s.settle(fault)
}

// settle accounts for the stream, and gives the connection back.
func (s *stream) settle(fault *loop.Fault) {
	defer s.x.conn.GiveBack()
	defer s.recoverPanic()
	if fault != nil {
		s.broke(fault.Value, fault.Stack)
		return
	}
	broken, werr := s.relay.Result()
	s.x.finish(s.resp, s.relay, broken, werr)
}

// alone runs the stream where no loop does.
func (s *stream) alone() {
	defer s.x.conn.GiveBack()
	defer s.recoverPanic()
	broken, werr := s.relay.Run(nil)
	s.x.finish(s.resp, s.relay, broken, werr)
}

// recoverPanic is broke of what settling panics with.
func (s *stream) recoverPanic() {
	if fault := recover(); fault != nil {
		s.broke(fault, debug.Stack())
	}
}

// broke keeps a fault of ours to the stream that it is of, whose client sees that it
// was broken off.
func (s *stream) broke(fault any, stack []byte) {
	x := s.x
	x.faulted(fault, stack)
	x.account.Outcome = account.Internal
	x.conn.Reset()
	x.settle()
}
