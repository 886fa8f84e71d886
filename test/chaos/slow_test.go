package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What slow readers do: how many bytes a second they read of an answer of how many
// lines. That takes longer than Usher lets a client read nothing.
const (
	writeTimeout = time.Second
	slowRate     = 4 << 10
	slowLines    = 800
	slowReaders  = 1 << 41 // the first index of their requests
	fullReaders  = 1 << 42 // and of the reader whose buffers are full when the model server dies
)

// A sipper reads a number of bytes a second, in steps, and records what it read when.
type sipper struct {
	net.Conn
	sips []sip
}

type sip struct {
	at    time.Time
	bytes int
}

func (s *sipper) Read(p []byte) (int, error) {
	const step = 50 * time.Millisecond
	time.Sleep(step)
	n, err := s.Conn.Read(p[:min(len(p), slowRate*int(step)/int(time.Second))])
	s.sips = append(s.sips, sip{time.Now(), n})
	return n, err
}

// tookALittle reports whether the client read so much in the writeTimeout before the
// cut that Usher must have seen it. A client's kernel announces free space when a
// good part of its buffer is free, and at the latest when all of it is. On a busy
// machine a client may be too slow for that.
func tookALittle(sips []sip, cut time.Time, buffer int) bool {
	total := 0
	for _, s := range sips {
		if cut.Sub(s.at) < writeTimeout {
			total += s.bytes
		}
	}
	return total >= buffer
}

func TestTookALittle(t *testing.T) {
	const buffer = 2304
	cut := time.Now()
	sips := func(apart time.Duration, bytes int, before time.Duration) (list []sip) {
		for at := 4 * time.Second; at >= before; at -= apart {
			list = append(list, sip{cut.Add(-at), bytes})
		}
		return list
	}
	require.True(t, tookALittle(sips(50*time.Millisecond, 204, 0), cut, buffer), "at its pace")
	require.True(t, tookALittle(sips(50*time.Millisecond, 204, 300*time.Millisecond), cut, buffer), "nothing came any more")
	require.False(t, tookALittle(sips(150*time.Millisecond, 204, 0), cut, buffer), "on a busy machine")
	require.False(t, tookALittle(sips(50*time.Millisecond, 204, 900*time.Millisecond), cut, buffer), "it stood still")
	require.False(t, tookALittle(nil, cut, buffer))
}

// A slowpoke is a client with the smallest possible receive buffer.
type slowpoke struct {
	*lane
	sipper *sipper
	buffer int // bytes
}

func newSlowpoke(w *world) (*slowpoke, error) {
	buffer := 0
	d := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err == nil {
				buffer, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
			}
		}), err)
	}}
	c, err := d.Dial("tcp", w.usher.public)
	if err != nil {
		return nil, err
	}
	s := &sipper{Conn: c}
	l := &lane{w: w, raw: c.(*net.TCPConn), conn: c, in: bufio.NewReader(s), weather: w.weather.changes.Load()}
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	return &slowpoke{l, s, buffer}, nil
}

// ended reports whether the connection has been reset or a refusal has come. It reads
// nothing from the connection.
func (s *slowpoke) ended() (over bool) {
	control, err := s.raw.SyscallConn()
	if err != nil {
		return false
	}
	_ = control.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd)}}
		_, _ = unix.Poll(look, 0)
		head := make([]byte, s.buffer)
		n, _, _ := unix.Recvfrom(int(fd), head, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		over = look[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 || bytes.Contains(head[:max(n, 0)], []byte("X-Usher-Refusal"))
	})
	return over
}

// slow makes some clients read slowly and others not at all. Slow readers get their
// whole answer; a client that reads nothing is cut off.
func slow(w *world, _ *rand.Rand) error {
	var reading sync.WaitGroup
	faults := make(chan error, 5)
	full, err := newSlowpoke(w)
	if err != nil {
		return err
	}
	reading.Go(func() {
		defer full.drop("close")
		faults <- fullRead(w, full, outsider(fullReaders+int(w.aside.Add(1))))
	})
	for n := range cap(faults) - 1 {
		l, err := newSlowpoke(w)
		if err != nil {
			return err
		}
		p := outsider(slowReaders + int(w.aside.Add(1)))
		reading.Go(func() {
			defer l.drop("close")
			faults <- slowRead(w, l, p, n == 0)
		})
	}
	reading.Wait()
	close(faults)
	var all error
	for err := range faults {
		all = errors.Join(all, err)
	}
	return all
}

func slowRead(w *world, l *slowpoke, p plan, stands bool) error {
	t := w.issue()
	a := p.ask(id{t.key, t.Reqnum, p.index, 0}, t)
	l.write(a)
	if stands {
		return eventually(a.id.String()+", which takes nothing, is cut", l.ended)
	}
	o, cut := l.read(a), time.Now()
	w.judge(t, a.id, o)
	switch {
	case unsent(o) || o.refusal != "":
		return nil // the queue was full, say
	case o.err != nil && !tookALittle(l.sipper.sips, cut, l.buffer):
		w.count("slow readers: no verdict")
	case o.err != nil:
		return fmt.Errorf("%s took a little and was cut: %w", a.id, o.err)
	}
	return nil
}

// fullRead reads nothing until the socket is full and the model server has died. Then
// the client must get all that was on its way, and be told of the break.
func fullRead(w *world, l *slowpoke, p plan) error {
	t := w.issue()
	a := p.ask(id{t.key, t.Reqnum, p.index, 0}, t)
	l.write(a)
	began := time.Now()
	time.Sleep(writeTimeout / 2)
	late := time.Since(began) > writeTimeout*3/4 // it may have been cut off for reading nothing
	_ = l.raw.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(l.raw)
	_, body, _ := bytes.Cut(got, []byte("\r\n\r\n"))
	switch {
	case bytes.Contains(got, []byte("X-Usher-Refusal")):
		return nil // the queue was full, say
	case err != nil && late:
		w.count("slow readers: no verdict")
		return nil
	case err != nil:
		return fmt.Errorf("%s was full and is not told of the break: %w", a.id, err)
	case !bytes.Contains(body[max(0, len(body)-1000):], []byte("upstream_broken")) || bytes.HasSuffix(body, []byte("0\r\n\r\n")):
		return fmt.Errorf("%s was full and is not told of the break: %d bytes, then %q", a.id, len(body), body[max(0, len(body)-200):])
	}
	return nil
}
