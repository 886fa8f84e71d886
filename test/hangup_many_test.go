package test

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stage is a model server that keeps answers open and notes when its
// connection for each of them is seen to close. It speaks just enough HTTP for
// that: a server's own noticing would be measured too.
type stage struct {
	address string
	non     bool // answers have a length

	mu     sync.Mutex
	closed map[string]chan time.Time // by request id
}

func newStage(t testing.TB, non bool) *stage {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &stage{address: l.Addr().String(), non: non, closed: map[string]chan time.Time{}}
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

func (s *stage) serve(c net.Conn) {
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
	s.of(id) <- time.Now()
}

// of is where the end of a request's connection is told.
func (s *stage) of(id string) chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed[id] == nil {
		s.closed[id] = make(chan time.Time, 1)
	}
	return s.closed[id]
}

// hangUpMany opens n answers at once, has the clients leave one by one, and
// returns how long each took from the client's close to the end of the model
// server's connection. The bytes of a next request lie unread behind every
// other one.
func hangUpMany(t testing.TB, n int, phase string, secure bool) []time.Duration {
	st := newStage(t, phase == "non-stream")
	s := newSigner(t)
	with := env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": testURL, "USHER_PUBLIC_KEY": s.public(),
		"USHER_UPSTREAM_URL": "http://" + st.address, "USHER_MAX_CONCURRENCY": itoa(n), "USHER_REORDER_HOLD": "0",
	}
	var pool *x509.CertPool
	if secure {
		var cert, key string
		cert, key, pool = certificateFiles(t, t.TempDir())
		with = with.with(env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
	}
	u := start(t, with)
	clients := make([]*wire, n)
	id := func(i int) string { return fmt.Sprintf("%s-%d", phase, i) }
	for i := range clients {
		c := connect(t, u, pool)
		require.NoError(t, c.SetDeadline(time.Now().Add(3*patience)))
		body := s.ticket().flat("")
		request := "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nX-Request-Id: " + id(i) +
			"\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body)
		if i%2 == 1 {
			request += "POST /generate HTTP/1.1\r\nHost: usher\r\n"
		}
		c.write(request)
		clients[i] = c
	}
	for _, c := range clients {
		if phase != "head" {
			_, err := c.in.Peek(1)
			require.NoError(t, err)
		}
	}
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == float64(n) }, patience, 10*time.Millisecond)
	took := make([]time.Duration, n)
	for i, c := range clients {
		began := time.Now()
		_ = c.Close()
		select {
		case at := <-st.of(id(i)):
			took[i] = at.Sub(began)
		case <-time.After(patience):
			require.Fail(t, "the model server's connection stays open", "client %d of %d", i, n)
		}
	}
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == 0 }, patience, 10*time.Millisecond)
	u.kill()
	return took
}

var hangUpPhases = []string{"head", "stream", "non-stream"}

// Of many that are open at once each hang-up is noticed.
func TestHangUpOfMany(t *testing.T) {
	for _, phase := range hangUpPhases {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s TLS=%t", phase, secure), func(t *testing.T) {
				require.Len(t, hangUpMany(t, 100, phase, secure), 100)
			})
		}
	}
}

// BenchmarkHangUpOfMany is how long it takes from a client's close to the end of
// the model server's connection, with 1,000 streams open at first.
//
//	go test -run '^$' -bench HangUpOfMany -benchtime 1x ./test
func BenchmarkHangUpOfMany(b *testing.B) {
	for _, phase := range hangUpPhases {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/TLS=%t", phase, secure), func(b *testing.B) {
				var took []time.Duration
				for range b.N {
					took = append(took, hangUpMany(b, 1000, phase, secure)...)
				}
				slices.Sort(took)
				at := func(q int) float64 { return float64(took[(len(took)-1)*q/100].Microseconds()) }
				b.ReportMetric(at(50), "us-p50")
				b.ReportMetric(at(99), "us-p99")
				b.ReportMetric(at(100), "us-max")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
