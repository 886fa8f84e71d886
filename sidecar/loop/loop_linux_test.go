package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const patience = 20 * time.Second

// What comes with the end, and what was there before the loop looked, gets through.
func TestDataWithTheEnd(t *testing.T) {
	l := running(t, time.Hour)
	for name, test := range map[string]struct {
		before, after string
		reset         bool
	}{
		"FIN":             {"", "last words", false},
		"FIN, before":     {"there already ", "last words", false},
		"RST":             {"first ", "", true},
		"nothing but FIN": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			from, server := pair(t)
			client, to := pair(t)
			_, _ = io.WriteString(server, test.before)
			p := newPipe(t, from, to)
			err := l.Add(&p.member, p, &p.from, &p.to)
			require.NoError(t, err)
			got := make([]byte, len(test.before))
			_, err = io.ReadFull(client, got)
			require.NoError(t, err)
			_, _ = io.WriteString(server, test.after)
			if test.reset {
				_ = server.SetLinger(0)
			}
			_ = server.Close()
			p.wait(t)
			_ = to.Close()
			rest, err := io.ReadAll(client)
			require.NoError(t, err)
			require.Equal(t, test.before+test.after, string(got)+string(rest))
			if test.reset {
				require.ErrorIs(t, p.err, syscall.ECONNRESET)
			} else {
				require.Equal(t, io.EOF, p.err)
			}
			require.Zero(t, l.Count())
		})
	}
}

// flooded is a stream whose server says more than the sockets hold, and is done then.
func flooded(t *testing.T, l *Loop) (p *pipe, client *net.TCPConn, sent []byte) {
	from, server := pair(t)
	client, to := pair(t)
	p = newPipe(t, from, to)
	err := l.Add(&p.member, p, &p.from, &p.to)
	require.NoError(t, err)
	sent = bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() {
		_, _ = server.Write(sent)
		_ = server.Close()
	}()
	return p, client, sent
}

// While the sink takes nothing its stream waits for it, and then all gets through.
func TestBackPressure(t *testing.T) {
	l := running(t, time.Hour)
	p, client, sent := flooded(t, l)
	require.Eventually(t, p.everFull.Load, patience, time.Millisecond)
	got := make([]byte, len(sent))
	_ = client.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(client, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
	p.wait(t)
	require.Equal(t, io.EOF, p.err)
}

// A stream that waits for its sink is not silent.
func TestFullIsNotSilent(t *testing.T) {
	t.Parallel()
	const silence = time.Second
	l := running(t, silence)
	p, client, _ := flooded(t, l)
	require.Eventually(t, p.everFull.Load, patience, time.Millisecond)
	time.Sleep(silence + silence/2)
	require.Zero(t, Event(p.told.Load())&Silent)
	_ = client.Close() // with bytes unread: a reset
	p.wait(t)
}

// A stream on which nothing comes is told of it in time, and another is not.
func TestSilence(t *testing.T) {
	t.Parallel()
	const silence = 2 * time.Second
	l := running(t, silence)
	begin := func() (*pipe, *net.TCPConn) {
		p, _, server := piped(t)
		err := l.Add(&p.member, p, &p.from, &p.to)
		require.NoError(t, err)
		return p, server
	}
	loud, server := begin()
	silent, _ := begin()
	for told := false; !told; {
		_, err := server.Write([]byte("."))
		require.NoError(t, err)
		select {
		case <-silent.ended:
			told = true
		case <-time.After(silence / 20):
		}
	}
	require.NotZero(t, Event(silent.told.Load())&Silent)
	require.Zero(t, Event(loud.told.Load())&Silent)
	_ = server.Close()
	loud.wait(t)
}

// Whoever wakes a stream has it told, whatever the loop does meanwhile; a wake that
// comes late does nothing.
func TestWake(t *testing.T) {
	l := running(t, time.Hour)
	var woken sync.WaitGroup
	for range 200 {
		p, _, _ := piped(t)
		p.endsOnWake = true
		m := &p.member
		err := l.Add(m, p, &p.from, &p.to)
		require.NoError(t, err)
		woken.Go(func() {
			m.Wake()
			p.wait(t)
			m.Wake()
		})
	}
	woken.Wait()
	require.Zero(t, l.Count())
}

// A stream that is woken before it begins ends, and its source is not looked at.
func TestWakeBeforeBegin(t *testing.T) {
	l := running(t, time.Hour)
	from, server := pair(t)
	_, to := pair(t)
	p := newPipe(t, from, to)
	p.endsOnWake = true
	m := &p.member
	l.Register(m, p, &p.from, &p.to)
	m.Wake()
	p.wait(t)
	require.NoError(t, m.Begin())
	_, err := server.Write([]byte("x"))
	require.NoError(t, err)
	// The descriptor is free for another.
	next := newPipe(t, from, to)
	err = l.Add(&next.member, next, &p.from, &p.to)
	require.NoError(t, err)
	require.Equal(t, Woken, Event(p.told.Load()))
}

// A stream ends or its Begin fails, and never both.
func TestWakeBeforeBeginFails(t *testing.T) {
	l := running(t, time.Hour)
	var failed []*pipe
	for range 100 {
		p, from, _ := piped(t)
		p.endsOnWake = true
		_ = from.Close()
		m := &p.member
		l.Register(m, p, &p.from, &p.to)
		m.Wake()
		if err := m.Begin(); err == nil {
			p.wait(t)
		} else {
			require.ErrorIs(t, err, net.ErrClosed)
			failed = append(failed, p)
		}
	}
	last, _, _ := piped(t)
	last.endsOnWake = true
	m := &last.member
	err := l.Add(m, last, &last.from, &last.to)
	require.NoError(t, err)
	m.Wake()
	last.wait(t) // and all that was posted before
	for _, p := range failed {
		select {
		case <-p.ended:
			t.Fatal("it ended")
		default:
		}
	}
	require.Zero(t, l.Count())
}

// WakeAll wakes all.
func TestWakeAll(t *testing.T) {
	l := running(t, time.Hour)
	l.WakeAll()
	var pipes []*pipe
	for range 5 {
		p, _, _ := piped(t)
		p.endsOnWake = true
		err := l.Add(&p.member, p, &p.from, &p.to)
		require.NoError(t, err)
		pipes = append(pipes, p)
	}
	l.WakeAll()
	for _, p := range pipes {
		p.wait(t)
	}
	require.Zero(t, l.Count())
}

// A stream's fault ends that stream and no other.
func TestFault(t *testing.T) {
	l := running(t, time.Hour)
	good, _, server := piped(t)
	err := l.Add(&good.member, good, &good.from, &good.to)
	require.NoError(t, err)
	bad, _, server2 := piped(t)
	bad.panics = true
	err = l.Add(&bad.member, bad, &bad.from, &bad.to)
	require.NoError(t, err)
	_, err = server2.Write([]byte("x"))
	require.NoError(t, err)
	bad.wait(t)
	require.Equal(t, "a fault of a stream", bad.fault.Value)
	require.Contains(t, string(bad.fault.Stack), "Handle")
	_ = server.Close()
	good.wait(t)
	require.Nil(t, good.fault)
}

// A descriptor that was closed before is refused, and its stream told of nothing.
func TestAddOfAClosedConnection(t *testing.T) {
	l := running(t, time.Hour)
	p, from, _ := piped(t)
	_ = from.Close()
	err := l.Add(&p.member, p, &p.from, &p.to)
	require.ErrorIs(t, err, net.ErrClosed)
	require.Zero(t, l.Count())
	require.Zero(t, p.told.Load())
}

// Connections are closed by others while the loop works on them, and their
// descriptors' numbers go to the next ones at once: no byte of one stream gets into
// another. Run it with -race.
func TestDescriptorsAreReused(t *testing.T) {
	l := running(t, time.Hour)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	var far sync.WaitGroup
	far.Go(func() { // says who it is until it is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			far.Go(func() {
				defer func() { _ = c.Close() }()
				name := make([]byte, 8)
				if _, err := io.ReadFull(c, name); err != nil {
					return
				}
				for {
					if _, err := c.Write(name); err != nil {
						return
					}
					time.Sleep(50 * time.Microsecond)
				}
			})
		}
	})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 150 {
				name := fmt.Sprintf("%03d-%03d.", w, i)
				from, err := net.Dial("tcp", ln.Addr().String())
				if !noError(t, err) {
					return
				}
				_, _ = io.WriteString(from, name)
				client, to := pair2(t)
				p := newPipe(t, from, to)
				p.endsOnWake = true
				m := &p.member
				err = l.Add(m, p, &p.from, &p.to)
				if !noError(t, err) {
					return
				}
				got := make([]byte, 64)
				_, err = io.ReadFull(client, got)
				noError(t, err)
				if want := bytes.Repeat([]byte(name), 8); !bytes.Equal(want, got) {
					t.Errorf("%s got %q", name, got)
				}
				// The loop is passing on at this moment.
				_ = from.Close()
				if i%2 == 0 {
					_ = to.Close()
				}
				m.Wake()
				p.wait(t)
				_, _ = to.Close(), client.Close()
			}
		})
	}
	workers.Wait()
	_ = ln.Close()
	far.Wait()
	require.Zero(t, l.Count())
}
