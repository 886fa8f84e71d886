package measure

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// BenchmarkForgedFlood measures how much signed requests suffer from a flood of forged
// signatures: 8 connections send signed requests, one after the other, with no flood
// and beside 64 that send forged ones as fast as they are answered. The flood keeps
// its connections or makes a new one for every second request. It runs on the same
// machine, which slows both.
//
//	go test -run '^$' -bench ForgedFlood -benchtime 3000x ./test/measure
func BenchmarkForgedFlood(b *testing.B) {
	b.Run("none", func(b *testing.B) { benchmarkForgedFlood(b, 0, 0) })
	b.Run("kept", func(b *testing.B) { benchmarkForgedFlood(b, 64, 1<<30) })
	b.Run("new", func(b *testing.B) { benchmarkForgedFlood(b, 64, 2) })
}

// benchmarkForgedFlood makes each flooder send perConnection requests over each
// connection.
func benchmarkForgedFlood(b *testing.B, flooders, perConnection int) {
	const connections = 8
	s := rig.NewSigner(b)
	u := rig.Start(b, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": cannedModel(b), "USHER_REPLAY_WINDOW": "1000000", "USHER_REORDER_HOLD": "0",
	})
	requests := make([][]byte, b.N)
	for i := range requests {
		body := s.Ticket().Flat(`"inputs":"hi"`)
		requests[i] = append([]byte(rig.Head(len(body))), body...)
	}
	signature := make([]byte, 256)
	_, _ = rand.Read(signature)
	signature[0] = 0 // below the modulus, or it would be rejected without using the key
	forged := s.Numbered(1<<40).With("signature", rig.Quote(base64.StdEncoding.EncodeToString(signature))).Flat(`"inputs":"hi"`)
	forged = append([]byte(rig.Head(len(forged))), forged...)

	var stop atomic.Bool
	var refused, next atomic.Int64
	var flood, clients sync.WaitGroup
	for range flooders {
		flood.Go(func() {
			for !stop.Load() {
				exchange(b, u.Public, func(send func([]byte, int)) {
					for i := 0; i < perConnection && !stop.Load(); i++ {
						send(forged, 401)
						refused.Add(1)
					}
				})
			}
		})
	}
	var mu sync.Mutex
	var latencies []time.Duration
	used := cpu(b, u.Cmd.Process.Pid)
	b.ResetTimer()
	for range connections {
		clients.Go(func() {
			var mine []time.Duration
			exchange(b, u.Public, func(send func([]byte, int)) {
				for i := next.Add(1) - 1; i < int64(len(requests)); i = next.Add(1) - 1 {
					begin := time.Now()
					send(requests[i], 200)
					mine = append(mine, time.Since(begin))
				}
			})
			mu.Lock()
			latencies = append(latencies, mine...)
			mu.Unlock()
		})
	}
	clients.Wait()
	b.StopTimer()
	used = cpu(b, u.Cmd.Process.Pid) - used
	forgeries := float64(refused.Load())
	stop.Store(true)
	flood.Wait()
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "us-p50")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "us-p99")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signed/s")
	b.ReportMetric(forgeries/b.Elapsed().Seconds(), "forged/s")
	b.ReportMetric(used.Seconds()/b.Elapsed().Seconds(), "cores")
	u.Kill()
}

// exchange opens a connection and calls f, which sends requests over it, each with the
// status that must come back.
func exchange(b *testing.B, address string, f func(send func(request []byte, status int))) {
	c, err := net.Dial("tcp", address)
	require.NoError(b, err)
	defer func() {
		_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
		_ = c.Close()
	}()
	in := bufio.NewReader(c)
	f(func(request []byte, status int) {
		_, err := io.Copy(c, bytes.NewReader(request))
		require.NoError(b, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(b, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.Equal(b, status, resp.StatusCode)
	})
}
