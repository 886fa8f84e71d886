package hangup

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
)

// A visitor is a client of the hammer test; the server side and the client side share it.
type visitor struct{ left atomic.Bool }

// A witness is a Call that knows whose it is.
type witness struct {
	visitor *visitor
	told    chan struct{}
	wrong   *atomic.Int64
}

func (w *witness) ClientGone() {
	if !w.visitor.left.Load() {
		w.wrong.Add(1)
	}
	close(w.told) // panics if called twice
}

// TestNoCallIsToldOfAnothersHangUp opens and closes connections as fast as it can, so
// that descriptors are reused at once, while calls come and go. Each call that is being
// watched when its client leaves must be told, and no other.
func TestNoCallIsToldOfAnothersHangUp(t *testing.T) {
	const clients = 8
	rounds := full.Or(500, 2500)
	ln := listen(t, Options{MaxConnections: 3 * clients, MaxPerIP: 3*clients + 1})
	var byPort sync.Map // visitors, by their port
	var wrong, told atomic.Int64
	var wait sync.WaitGroup

	serve := func(c *Conn) {
		defer c.Close()
		buf := make([]byte, 1)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			found, _ := byPort.Load(c.RemoteAddr().(*net.TCPAddr).Port)
			call := &witness{visitor: found.(*visitor), told: make(chan struct{}), wrong: &wrong}
			c.Watch(call)
			if buf[0] == 'w' { // the client leaves without an answer
				<-call.told
				told.Add(1)
			}
			c.Unwatch()
			if buf[0] == 'w' {
				return
			}
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}
	wait.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { serve(c.(*Conn)) })
		}
	})

	var waited atomic.Int64
	visit := func(random *rand.Rand) error {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		me := &visitor{}
		byPort.Store(c.LocalAddr().(*net.TCPAddr).Port, me)
		buf := make([]byte, 1)
		for range random.IntN(3) {
			if _, err := c.Write([]byte("a")); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
		}
		if random.IntN(2) == 0 {
			waited.Add(1)
			if _, err := c.Write([]byte("w")); err != nil {
				return err
			}
			me.left.Store(true)
			// A reset now could overtake the byte before the server has read it, and
			// the call would never begin.
			return c.(*net.TCPConn).CloseWrite()
		}
		me.left.Store(true)
		return c.(*net.TCPConn).SetLinger(0)
	}
	var visitors sync.WaitGroup
	for i := range clients {
		visitors.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				if err := visit(random); !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	visitors.Wait()
	// Close would lose the connections in the kernel's backlog.
	require.Eventually(t, func() bool {
		s := ln.Stats()
		return s.Accepted+s.AcceptErrors == uint64(clients*rounds)
	}, 10*time.Second, time.Millisecond)
	_ = ln.Close()
	wait.Wait()
	require.Zero(t, wrong.Load(), "calls told while their client was still there")
	require.Equal(t, waited.Load(), told.Load())
	require.Zero(t, ln.Stats().Open)
}
