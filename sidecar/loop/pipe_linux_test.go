package loop

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// running returns a loop that runs until the test's end.
func running(t *testing.T, silence time.Duration) *Loop {
	t.Helper()
	l, err := New(silence)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { l.Run(); close(done) }()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}

// pair is a TCP connection: both ends.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	f, err := ln.Accept()
	require.NoError(t, err)
	_ = f.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _, _ = c.Close(), f.Close() })
	return c.(*net.TCPConn), f.(*net.TCPConn)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// A pipe passes on what comes until its source's end.
type pipe struct {
	member     Member
	from, to   socket.Conn
	ahead      socket.Ahead
	rest       []byte
	drained    bool
	final      bool
	told       atomic.Uint32 // all that happened
	panics     bool
	fault      *Fault
	ended      chan struct{}
	err        error
	everFull   atomic.Bool
	endsOnWake bool
}

func newPipe(t *testing.T, from, to net.Conn) *pipe {
	t.Helper()
	p := &pipe{ahead: socket.NewAhead(&buffers), ended: make(chan struct{})}
	require.NoError(t, p.from.Init(from))
	require.NoError(t, p.to.Init(to))
	return p
}

// piped is a pipe between two connections, and the server's end of the one that it
// reads from.
func piped(t *testing.T) (p *pipe, from, server *net.TCPConn) {
	t.Helper()
	from, server = pair(t)
	_, to := pair(t)
	return newPipe(t, from, to), from, server
}

func (p *pipe) Handle(e Event, _ time.Time) Want {
	p.told.Or(uint32(e))
	if p.panics {
		panic("a fault of a stream")
	}
	if e&Readable != 0 {
		p.drained, p.final = false, p.final || e&Last != 0
	}
	if e&Silent != 0 || e&Woken != 0 && p.endsOnWake {
		return Nothing
	}
	for range 4 {
		if len(p.rest) > 0 {
			n, err := p.to.TryWrite(p.rest, nil)
			if err != nil {
				p.err = err
				return Nothing
			}
			if p.rest = p.rest[n:]; len(p.rest) > 0 {
				p.everFull.Store(true)
				return Sink
			}
		}
		if p.drained {
			return Source
		}
		all, err := p.from.TryFill(&p.ahead)
		if err == socket.ErrWouldWait {
			p.drained = true
			return Source
		}
		if err != nil {
			p.err = err
			return Nothing
		}
		p.drained = all && !p.final
		p.rest = append(p.rest, p.ahead.Bytes()...)
		p.ahead.Release()
	}
	return Turn
}

func (p *pipe) Ended(fault *Fault) {
	p.fault = fault
	close(p.ended)
}

func (p *pipe) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("the stream does not end")
	}
}

func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// pair2 is pair for goroutines beside the test's, and without its clean-up.
func pair2(t *testing.T) (near, far net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if !noError(t, err) {
		return nil, nil
	}
	defer func() { _ = ln.Close() }()
	c, err := net.Dial("tcp", ln.Addr().String())
	noError(t, err)
	f, err := ln.Accept()
	noError(t, err)
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, f
}
