package rig

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A Stage is a model server that keeps answers open and notes when it sees the connection
// of each close. It speaks just enough HTTP for that: with a real server the time it
// takes to notice would be measured too.
type Stage struct {
	Address string
	non     bool // answers have a length

	mu     sync.Mutex
	closed map[string]chan time.Time // by request id
}

func NewStage(t testing.TB, non bool) *Stage {
	t.Helper()
	l, err := loopback.Listen()
	require.NoError(t, err)
	s := &Stage{Address: l.Addr().String(), non: non, closed: map[string]chan time.Time{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait() // usher, ended before, has closed them all
	})
	return s
}

func (s *Stage) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	if req.URL.Path == "/health" {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	id := req.Header.Get("X-Request-Id")
	switch {
	case strings.HasPrefix(id, "head"):
	case s.non:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	default:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
	}
	_, _ = in.Peek(1)
	s.Of(id) <- time.Now()
}

// Of returns the channel that reports the end of a request's connection.
func (s *Stage) Of(id string) chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed[id] == nil {
		s.closed[id] = make(chan time.Time, 1)
	}
	return s.closed[id]
}
