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
	"time"
)

// What slow readers are: how many bytes a second they take, of an answer of so
// many lines, which lasts them for longer than Usher lets a client take nothing.
const (
	writeTimeout = time.Second
	slowRate     = 2 << 10
	slowLines    = 400
	slowReaders  = 1 << 41 // the indexes of their requests are from here on
	fullReaders  = 1 << 42 // and of one that is full when the model server dies
)

// A sipper reads so many bytes a second, in steps.
type sipper struct{ net.Conn }

func (s sipper) Read(p []byte) (int, error) {
	const step = 50 * time.Millisecond
	time.Sleep(step)
	return s.Conn.Read(p[:min(len(p), slowRate*int(step)/int(time.Second))])
}

// narrow opens a lane whose receive buffer is the smallest there is.
func narrow(w *world) (*lane, error) {
	d := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
		}), err)
	}}
	c, err := d.Dial("tcp", w.usher.public)
	if err != nil {
		return nil, err
	}
	l := &lane{w: w, raw: c.(*net.TCPConn), conn: c, in: bufio.NewReader(sipper{c}), weather: w.weather.changes.Load()}
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	return l, nil
}

// slow lets some clients take their answers slowly, and one take nothing: those
// get all of it, that one is cut.
func slow(w *world, _ *rand.Rand) error {
	var reading sync.WaitGroup
	faults := make(chan error, 5)
	full, err := narrow(w)
	if err != nil {
		return err
	}
	reading.Go(func() {
		defer full.drop("close")
		faults <- fullRead(w, full, outsider(fullReaders+int(w.aside.Add(1))))
	})
	for n := range cap(faults) - 1 {
		l, err := narrow(w)
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

func slowRead(w *world, l *lane, p plan, stands bool) error {
	t := w.issue()
	a := compose(p, id{t.key, t.Reqnum, p.index, 0}, p.envelope(t))
	l.write(a)
	if stands {
		time.Sleep(2 * writeTimeout)
		_ = l.raw.SetReadDeadline(time.Now().Add(writeTimeout))
		got, err := io.ReadAll(l.raw)
		if !errors.Is(err, syscall.ECONNRESET) && !bytes.Contains(got, []byte("X-Usher-Refusal")) {
			return fmt.Errorf("%s took nothing and was not cut: it got %d bytes, and %v", a.id, len(got), err)
		}
		return nil
	}
	o := l.read(a)
	w.judge(t, a.id, o)
	switch {
	case unsent(o) || o.refusal != "":
		return nil // the queue was full, say
	case o.err != nil:
		return fmt.Errorf("%s took a little and was cut: %w", a.id, o.err)
	}
	return nil
}

// fullRead takes nothing until the model server has died behind a full socket: then
// it gets what was on its way, whole, and is told of the break.
func fullRead(w *world, l *lane, p plan) error {
	t := w.issue()
	a := compose(p, id{t.key, t.Reqnum, p.index, 0}, p.envelope(t))
	l.write(a)
	time.Sleep(writeTimeout / 2)
	_ = l.raw.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(l.raw)
	_, body, _ := bytes.Cut(got, []byte("\r\n\r\n"))
	switch {
	case bytes.Contains(got, []byte("X-Usher-Refusal")):
		return nil // the queue was full, say
	case err != nil:
		return fmt.Errorf("%s was full and is not told of the break: %w", a.id, err)
	case !bytes.Contains(body[max(0, len(body)-1000):], []byte("upstream_broken")) || bytes.HasSuffix(body, []byte("0\r\n\r\n")):
		return fmt.Errorf("%s was full and is not told of the break: %d bytes, then %q", a.id, len(body), body[max(0, len(body)-200):])
	}
	return nil
}
