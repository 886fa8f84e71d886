//go:build !darwin && !linux

package upstream

import (
	"net"
	"sync"
)

// A socket elsewhere is net.Conn alone.
type socket struct{}

func newLine(nc net.Conn, buffers *sync.Pool) (*line, error) {
	return &line{nc: nc, buffers: buffers}, nil
}

// silent cannot look without taking, and trusts no connection a second time.
func (l *line) silent() bool { return false }

// fill waits for bytes and reads once. Nothing may be read ahead.
func (l *line) fill() error {
	buf := l.buffers.Get().(*[]byte)
	n, err := l.nc.Read(*buf)
	if n == 0 {
		l.buffers.Put(buf)
		return err
	}
	l.buf, l.from, l.to = buf, 0, n
	return nil
}

// write takes nothing: the goroutine that elsewhere writes only the rest of
// large requests writes all of each.
func (l *line) write(_, _ []byte) (n int, err error) { return 0, nil }
