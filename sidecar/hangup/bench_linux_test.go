package hangup

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkWatch measures what noticing hang-ups costs a request.
func BenchmarkWatch(b *testing.B) {
	server, _ := pair(b, listen(b, Options{}))
	call := &recorder{}
	b.ReportAllocs()
	for b.Loop() {
		server.Watch(call)
		server.Unwatch()
	}
}

// BenchmarkAccept measures what it costs to accept, watch and close a connection; the
// plain listener is the baseline.
func BenchmarkAccept(b *testing.B) {
	for _, wrapped := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "watched"}[wrapped]
		b.Run(name, func(b *testing.B) {
			var ln net.Listener
			if wrapped {
				ln = listen(b, Options{MaxConnections: 100, MaxPerIP: 100, WriteTimeout: time.Minute})
			} else {
				var err error
				ln, err = net.Listen("tcp", "127.0.0.1:0")
				require.NoError(b, err)
				defer ln.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				server, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				_ = client.(*net.TCPConn).SetLinger(0) // no TIME_WAIT
				client.Close()
				server.Close()
			}
		})
	}
}

// stopwatch gets the time at which the client is seen leaving.
type stopwatch chan time.Time

func (s stopwatch) ClientGone() { s <- time.Now() }

// BenchmarkHangUp measures the time from a client's close to ClientGone, in an idle
// process and in one whose goroutines keep every processor busy.
func BenchmarkHangUp(b *testing.B) {
	for name, busy := range map[string]int{"idle": 0, "busy": 8} {
		b.Run(name, func(b *testing.B) {
			ln := listen(b, Options{})
			stop := load(b, busy)
			defer stop()
			var delays []time.Duration
			for b.Loop() {
				server, client := pair(b, ln)
				call := make(stopwatch, 1)
				server.Watch(call)
				start := time.Now()
				_ = client.Close()
				delays = append(delays, (<-call).Sub(start))
				server.Unwatch()
				server.Reset()
			}
			slices.Sort(delays)
			at := func(q float64) float64 {
				return float64(delays[int(q*float64(len(delays)-1))]) / float64(time.Microsecond)
			}
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.99), "p99-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// load keeps n pairs of connections sending small messages to each other, like a proxy of
// streams.
func load(b *testing.B, n int) (stop func()) {
	var wait sync.WaitGroup
	var open []net.Conn
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer ln.Close()
	for range n {
		one, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(b, err)
		two, err := ln.Accept()
		require.NoError(b, err)
		open = append(open, one, two)
		echo := func(from, to net.Conn) {
			buf := make([]byte, 256)
			for {
				k, err := from.Read(buf)
				if err != nil {
					return
				}
				for i := range 20_000 { // some work
					buf[0] ^= byte(i)
				}
				if _, err := to.Write(buf[:k]); err != nil {
					return
				}
			}
		}
		wait.Go(func() { echo(one, one) })
		wait.Go(func() { echo(two, two) })
		_, err = one.Write([]byte("ball"))
		require.NoError(b, err)
	}
	return func() {
		for _, c := range open {
			_ = c.Close()
		}
		wait.Wait()
	}
}
