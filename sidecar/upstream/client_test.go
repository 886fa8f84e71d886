package upstream

import (
	"context"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

func TestOptions(t *testing.T) {
	good := Options{Network: "tcp", Address: "127.0.0.1:1", Host: "model"}
	_, err := New(good)
	require.NoError(t, err)
	for name, spoil := range map[string]func(o *Options){
		"network":       func(o *Options) { o.Network = "udp" },
		"address":       func(o *Options) { o.Address = "" },
		"no host":       func(o *Options) { o.Host = "" },
		"host":          func(o *Options) { o.Host = "a\r\nb" },
		"prefix":        func(o *Options) { o.PathPrefix = "x" },
		"blank prefix":  func(o *Options) { o.PathPrefix = "/ x" },
		"authorization": func(o *Options) { o.Authorization = "x\r\nHost: y" },
		"duration":      func(o *Options) { o.IdleTimeout = -1 },
		"kept":          func(o *Options) { o.KeepIdle = -2 },
		"size":          func(o *Options) { o.ReadBufferSize = -1 },
		"head":          func(o *Options) { o.MaxHeadBytes = 1 << 31 },
	} {
		o := good
		spoil(&o)
		_, err := New(o)
		require.Error(t, err, name)
	}
}

func TestUnreachable(t *testing.T) {
	addr, err := loopback.Address()
	require.NoError(t, err)
	c, err := New(Options{Network: "tcp", Address: addr, Host: "m"})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Acquire(context.Background())
	require.ErrorIs(t, err, ErrUnreachable)
	require.Contains(t, Detail(err), "refused")
	require.Empty(t, Detail(net.ErrClosed))
}

func TestReuse(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	for range 10 {
		resp, body, err := post(t, c, []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
		resp.Close()
	}
	require.Equal(t, Stats{Dials: 1, Reused: 9, Idle: 1}, c.Stats())

	// The most recently used one is taken first.
	a, b := acquire(t, c), acquire(t, c)
	last := a.line
	b.Release()
	a.Release()
	require.Same(t, last, acquire(t, c).line)
}

// If a server closes idle connections, requests do not notice: each is sent once, and
// succeeds.
func TestStaleConnections(t *testing.T) {
	const requests = 200
	for name, leave := range map[string]func(p *peer){
		"closes":               func(p *peer) { _ = p.Close() },
		"resets":               func(p *peer) { p.reset() },
		"says it and closes":   func(p *peer) { p.send("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"); _ = p.Close() },
		"sends stray bytes":    func(p *peer) { p.send("\r\n") },
		"closes its half only": func(p *peer) { _ = p.Conn.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			read, left := make(chan struct{}), make(chan struct{})
			m := listen(t, "tcp", func(p *peer) {
				_, _, err := p.request()
				if err != nil {
					return
				}
				p.send(hello)
				<-read
				leave(p)
				left <- struct{}{}
				_ = p.gone()
			})
			c := connect(t, m, nil)
			for range requests {
				resp, body, err := post(t, c, []byte("x"))
				require.NoError(t, err)
				require.Equal(t, "hello", body)
				resp.Close()
				require.Equal(t, 1, c.Stats().Idle)
				read <- struct{}{}
				<-left
				c.mu.Lock()
				kept := c.idle[0]
				c.mu.Unlock()
				for silent := true; silent; silent, _ = kept.sock.Silent() {
					runtime.Gosched() // what the server did is on its way
				}
			}
			require.EqualValues(t, requests, m.served.Load())
			require.Equal(t, Stats{Dials: requests, Reused: 0, Replaced: requests - 1, Idle: 1}, c.Stats())
		})
	}
}

// A kept connection that dies between the probe and the first byte is replaced.
func TestReplaced(t *testing.T) {
	kill := make(chan struct{}, 1)
	m := listen(t, "tcp", func(p *peer) {
		for i := 0; ; i++ {
			if p.n == 0 && i == 1 {
				<-kill
				p.reset()
				return
			}
			if _, _, err := p.request(); err != nil {
				return
			}
			p.send(hello)
		}
	})
	c := connect(t, m, nil)
	resp, _, err := post(t, c, nil)
	require.NoError(t, err)
	resp.Close()
	cn := acquire(t, c)
	kill <- struct{}{}
	for silent := true; silent; silent, _ = cn.line.sock.Silent() {
		runtime.Gosched()
	}
	resp, err = cn.RoundTrip(&Request{Path: []byte("/"), Body: make([]byte, 1<<20)})
	require.NoError(t, err)
	got, err := readAll(resp)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	resp.Close()
	require.EqualValues(t, 2, m.served.Load())
	require.Equal(t, Stats{Dials: 2, Reused: 1, Replaced: 1, Idle: 1}, c.Stats())
}

// The same, but the server is gone.
func TestNotReplaced(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	resp, _, err := post(t, c, nil)
	require.NoError(t, err)
	resp.Close()
	cn := acquire(t, c)
	m.stop()
	for silent := true; silent; silent, _ = cn.line.sock.Silent() {
		runtime.Gosched()
	}
	_ = cn.line.nc.(*net.TCPConn).CloseWrite() // so that the write is certain to fail
	_, err = cn.RoundTrip(&Request{Path: []byte("/")})
	require.ErrorIs(t, err, ErrUnreachable)
}

// A request that was taken in part or whole is not sent again.
func TestNotSentTwice(t *testing.T) {
	for name, size := range map[string]int{"whole": 10, "in part": large} {
		t.Run(name, func(t *testing.T) {
			m := listen(t, "tcp", func(p *peer) {
				if _, _, err := p.request(); err != nil {
					return
				}
				p.send(hello)
				_, _ = p.br.Peek(1)
				p.reset()
			})
			c := connect(t, m, nil)
			resp, _, err := post(t, c, nil)
			require.NoError(t, err)
			resp.Close()
			_, _, err = post(t, c, make([]byte, size))
			require.ErrorIs(t, err, ErrBroken)
			require.EqualValues(t, 1, m.conns.Load())
			require.Equal(t, Stats{Dials: 1, Reused: 1}, c.Stats())
		})
	}
}

// Idle connections are closed when they expire, and with the client.
func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Network: "tcp", Address: "x", Host: "x"})
		require.NoError(t, err)
		push := func() *closable {
			nc := new(closable)
			l, err := newLine(nc, &c.buffers)
			require.NoError(t, err)
			l.limit = c.o.KeepIdle
			c.push(l, true)
			return nc
		}
		a := push()
		time.Sleep(3 * time.Second)
		b := push()
		time.Sleep(time.Second - 1)
		require.Equal(t, 2, c.Stats().Idle)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.True(t, a.closed)
		require.False(t, b.closed)
		require.Equal(t, 1, c.Stats().Idle)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.True(t, b.closed)
		require.Zero(t, c.Stats().Idle)

		d := push()
		require.NotNil(t, c.pop())
		time.Sleep(time.Minute)
		require.False(t, d.closed)

		// An expired one is not handed out even before it is swept.
		e := push()
		c.idle[0].until = time.Now()
		require.Nil(t, c.pop())
		c.Close()
		require.True(t, e.closed)
		g := push()
		require.True(t, g.closed, "a closed client must not keep it")
		c.Close()
	})
}

// A closable is a connection that can only be closed.
type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }
