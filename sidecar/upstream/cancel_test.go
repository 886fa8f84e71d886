package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// At whatever stage a use is cancelled, the model server sees a reset at once, the owner
// sees ErrCanceled, and the connection is not used again.
func TestCancel(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	request := func(size int) *Request { return &Request{Path: []byte("/"), Body: make([]byte, size)} }
	tests := []struct {
		name   string
		script func(p *peer, reached chan<- struct{}) error
		use    func(t *testing.T, cn *Conn, reached <-chan struct{})
	}{
		{
			"before anything is sent",
			func(p *peer, _ chan<- struct{}) error { return p.gone() },
			func(t *testing.T, cn *Conn, _ <-chan struct{}) {
				cn.Cancel()
				_, err := cn.RoundTrip(request(1))
				require.ErrorIs(t, err, ErrCanceled)
			},
		},
		{
			"while the body is sent",
			func(p *peer, reached chan<- struct{}) error {
				_, err := p.br.Peek(1)
				close(reached)
				<-p.ended() // takes nothing more until the use was cancelled
				return errors.Join(err, p.gone())
			},
			func(t *testing.T, cn *Conn, reached <-chan struct{}) {
				go func() { <-reached; cn.Cancel() }()
				_, err := cn.RoundTrip(request(large))
				require.ErrorIs(t, err, ErrCanceled)
			},
		},
		{
			"before the head",
			func(p *peer, reached chan<- struct{}) error {
				_, _, err := p.request()
				close(reached)
				return errors.Join(err, p.gone())
			},
			func(t *testing.T, cn *Conn, reached <-chan struct{}) {
				go func() { <-reached; cn.Cancel() }()
				_, err := cn.RoundTrip(request(1))
				require.ErrorIs(t, err, ErrCanceled)
			},
		},
		{
			"within the body",
			func(p *peer, reached chan<- struct{}) error {
				_, _, err := p.request()
				p.send(chunked)
				return errors.Join(err, p.gone())
			},
			func(t *testing.T, cn *Conn, reached <-chan struct{}) {
				resp, err := cn.RoundTrip(request(1))
				require.NoError(t, err)
				buf := make([]byte, 100)
				n, err := resp.Read(buf)
				require.NoError(t, err)
				require.Equal(t, "hello", string(buf[:n]))
				go cn.Cancel()
				_, err = resp.Read(buf)
				require.ErrorIs(t, err, ErrCanceled)
				require.ErrorIs(t, resp.Wait(), ErrCanceled)
				resp.Close()
			},
		},
		{
			"after the end of the body",
			func(p *peer, _ chan<- struct{}) error {
				_, _, err := p.request()
				p.send(hello)
				return errors.Join(err, p.gone())
			},
			func(t *testing.T, cn *Conn, _ <-chan struct{}) {
				resp, err := cn.RoundTrip(request(1))
				require.NoError(t, err)
				got, err := readAll(resp)
				require.NoError(t, err)
				require.Equal(t, "hello", got)
				cn.Cancel()
				resp.Close()
			},
		},
	}
	for _, network := range []string{"tcp", "unix"} {
		for _, tt := range tests {
			t.Run(network+" "+tt.name, func(t *testing.T) {
				reached, seen := make(chan struct{}), make(chan error, 1)
				m := listen(t, network, func(p *peer) { seen <- tt.script(p, reached) })
				c := connect(t, m, nil)
				cn := acquire(t, c)
				tt.use(t, cn, reached)
				cn.Cancel()
				cn.Release()
				require.Zero(t, c.Stats().Idle)
				m.stopWaiting()
				// A Unix socket has no reset; the server must only see the end.
				if err := <-seen; network == "tcp" {
					requireReset(t, err)
				}
			})
		}
	}
}

// A use that is given up without Cancel makes the model server stop, too.
func TestCloseEarly(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		seen := make(chan error, 1)
		m := listen(t, network, func(p *peer) {
			_, _, _ = p.request()
			p.send("HTTP/1.1 200 OK\r\n\r\nhello")
			seen <- p.gone()
		})
		c := connect(t, m, nil)
		resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
		require.NoError(t, err)
		resp.Close()
		require.Zero(t, c.Stats().Idle)
		if err := <-seen; network == "tcp" {
			requireReset(t, err)
		}
	}
}

// A Cancel after its use has ended does not affect the next use of the line.
func TestLateCancel(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	first := acquire(t, c)
	resp, err := first.RoundTrip(&Request{Path: []byte("/")})
	require.NoError(t, err)
	_, err = readAll(resp)
	require.NoError(t, err)
	resp.Close()
	first.Cancel()

	second := acquire(t, c)
	first.Cancel()
	resp, err = second.RoundTrip(&Request{Path: []byte("/")})
	require.NoError(t, err)
	first.Cancel()
	first.Release()
	_, err = readAll(resp)
	require.NoError(t, err)
	resp.Close()
	require.EqualValues(t, 1, m.conns.Load())

	third := acquire(t, c)
	third.Release()
	third.Cancel()
	require.Equal(t, 1, c.Stats().Idle)
}

// A Cancel before a dead connection is replaced leaves nothing to replace it with.
func TestCancelBeforeReplacing(t *testing.T) {
	seen := make(chan error, 1)
	m := listen(t, "tcp", func(p *peer) { seen <- p.gone() })
	c := connect(t, m, nil)
	cn := acquire(t, c)
	cn.Cancel()
	require.ErrorIs(t, cn.replace(), ErrCanceled)
	cn.Release()
	<-seen
	require.EqualValues(t, 1, c.Stats().Dials)
	require.Zero(t, c.Stats().Idle)
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	gone := errors.New("client gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	_, err := c.Acquire(ctx)
	require.ErrorIs(t, err, gone)
	require.NotErrorIs(t, err, ErrUnreachable)
	require.Zero(t, c.Stats().Dials)
}

// Many uses, most of them cancelled at some moment, often too late: no use gets another
// request's answer, and a use that is not cancelled never fails.
func TestCancelHammer(t *testing.T) {
	m := listen(t, "tcp", func(p *peer) {
		for {
			_, body, err := p.request()
			if err != nil {
				return
			}
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 2 {
				p.send(fmt.Sprintf("%x\r\n%s\r\n", len(body), body))
			}
			p.send("0\r\n\r\n")
		}
	})
	c := connect(t, m, nil)
	const workers, rounds = 16, 150
	var whole, cut atomic.Int64
	var wg, cancels sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range rounds {
				cn, err := c.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				doomed := i%3 != 0
				if doomed {
					spins := rng.IntN(200)
					cancels.Go(func() {
						for range spins {
							runtime.Gosched()
						}
						cn.Cancel()
					})
				}
				text := strconv.Itoa(w*rounds + i)
				err = exchangeText(cn, text)
				switch {
				case err == nil:
					whole.Add(1)
				case doomed && errors.Is(err, ErrCanceled):
					cut.Add(1)
				default:
					t.Errorf("doomed %t: %v", doomed, err)
				}
			}
		})
	}
	wg.Wait()
	cancels.Wait()
	require.GreaterOrEqual(t, whole.Load(), int64(workers*rounds/3))
	require.EqualValues(t, workers*rounds, whole.Load()+cut.Load())
	require.Positive(t, c.Stats().Reused)
	require.Positive(t, cut.Load())
}

// exchangeText sends text and expects it back twice.
func exchangeText(cn *Conn, text string) error {
	resp, err := cn.RoundTrip(&Request{Path: []byte("/"), Body: []byte(text)})
	if err != nil {
		return err
	}
	defer resp.Close()
	got, err := io.ReadAll(resp)
	if err == nil && string(got) != text+text {
		return fmt.Errorf("sent %q, got %q", text, got)
	}
	return err
}
