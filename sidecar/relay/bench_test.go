package relay

import (
	"bytes"
	"testing"
	"time"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A sink is a client that discards the answer.
type sink struct{}

func (sink) WriteParts([]byte, [][]byte) error { return nil }
func (sink) TryWrite(p []byte) (int, error)    { return len(p), nil }
func (sink) Reset()                            {}
func (sink) Cut()                              {}

// BenchmarkToken passes on one event of a stream, without the system calls and the cost
// of an account's meters.
func BenchmarkToken(b *testing.B) {
	now := time.Now()
	r := &Relay{
		Client: sink{}, Framing: ByChunks, Stream: dialect.Events, counts: counts{began: now}, Account: new(account.Request), Meter: new(account.Book),
		OnPiece: func(time.Time) {},
	}
	buffer := new(buffer)
	event := bytes.Clone([]byte("data: {\"token\":{\"id\":007,\"text\":\" word\"}}\n\n"))
	b.ReportAllocs()
	for b.Loop() {
		r.count(event, time.Now())
		if err := r.piece(buffer, nil, event, false); err != nil {
			b.Fatal(err)
		}
	}
}

// An endless source has the same event at every other Look.
type endless struct {
	event []byte
	here  bool
}

func (s *endless) Ready() bool { return s.here }
func (s *endless) Wait() error { return nil }
func (s *endless) Look() bool  { s.here = !s.here; return s.here }
func (s *endless) Read(p []byte) (int, error) {
	return copy(p, s.event), nil
}

// BenchmarkAdvance is BenchmarkToken with Advance, as in a loop.
func BenchmarkAdvance(b *testing.B) {
	now := time.Now()
	r := &Relay{
		Client: sink{}, Framing: ByChunks, Stream: dialect.Events, counts: counts{began: now}, Account: new(account.Request), Meter: new(account.Book),
		OnPiece: func(time.Time) {},
		Source:  &endless{event: []byte("data: {\"token\":{\"id\":007,\"text\":\" word\"}}\n\n")},
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.Advance(sink{}, now) != Starved {
			b.Fatal("it waits for more")
		}
	}
}
