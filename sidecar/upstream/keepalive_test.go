package upstream

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A connection is kept for the shorter of the configured time and what the model server
// says, with time to spare.
func TestHeed(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"timeout=5, max=100": 4 * time.Second, "max=100,Timeout=3": 2 * time.Second, "timeout=2": time.Second, "timeout=1": time.Second / 2,
		"timeout=0": 0, "timeout=6": 5 * time.Second, "timeout=7": 6 * time.Second, "timeout=8": 6 * time.Second, "timeout=99999999999999999999": 6 * time.Second,
		"timeout=": 6 * time.Second, "timeout=x": 6 * time.Second, "": 6 * time.Second, "xtimeout=1": 6 * time.Second, "timeout=-1": 6 * time.Second,
		"timeout=3, timeout=2": time.Second, "timeout = 2": 6 * time.Second,
	} {
		l := &line{limit: 6 * time.Second}
		l.heed([]byte(value))
		require.Equal(t, want, l.limit, value)
	}
}

// The model server's Keep-Alive counts from the answer that has it.
func TestKeepAliveOfTheModelServer(t *testing.T) {
	var said atomic.Value
	said.Store("timeout=1")
	m := listen(t, "tcp", func(p *peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.send("HTTP/1.1 200 OK\r\nKeep-Alive: " + said.Load().(string) + "\r\nContent-Length: 0\r\n\r\n")
		}
	})
	c := connect(t, m, func(o *Options) { o.KeepIdle = time.Hour })
	call := func() *line {
		resp, _, err := post(t, c, nil)
		require.NoError(t, err)
		l := resp.cn.line
		resp.Close()
		return l
	}
	before := time.Now()
	l := call()
	require.WithinRange(t, l.until, before.Add(500*time.Millisecond), time.Now().Add(500*time.Millisecond))
	require.Eventually(t, func() bool { return c.Stats().Idle == 0 }, patience, 10*time.Millisecond, "it should be swept long before the hour")
	said.Store("timeout=0")
	call()
	require.Zero(t, c.Stats().Idle)
	require.EqualValues(t, 2, c.Stats().Dials)
}

func TestKeepNone(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, func(o *Options) { o.KeepIdle = KeepNone })
	for range 3 {
		resp, _, err := post(t, c, []byte("x"))
		require.NoError(t, err)
		resp.Close()
	}
	acquire(t, c).Release()
	require.Equal(t, Stats{Dials: 4}, c.Stats())
}

// Connections expire in the order of their own times, and one that was taken and given
// back unused is not kept for longer.
func TestIdleConnectionsOfDifferentTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Network: "tcp", Address: "x", Host: "x"})
		require.NoError(t, err)
		defer c.Close()
		push := func(limit time.Duration) *closable {
			nc := new(closable)
			l, err := newLine(nc, &c.buffers)
			require.NoError(t, err)
			l.limit = limit
			c.push(l, true)
			return nc
		}
		long, short, medium := push(4*time.Second), push(time.Second), push(2*time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, short.closed && !medium.closed && !long.closed)
		l := c.pop()
		require.Same(t, medium, l.nc)
		c.push(l, false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, medium.closed && !long.closed, "it was not used")
		require.Same(t, long, c.pop().nc)
		later := push(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, later.closed, "the sweeper should be set again")
	})
}
