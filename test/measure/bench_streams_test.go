package measure

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

const (
	benchStreams = 200
	benchTokens  = 100 // a stream
	benchPause   = 20 * time.Millisecond
)

// BenchmarkStreams runs 200 streams at once, each of 50 events a second, and measures
// how long an event takes from the model server's write to the client's read, without
// usher and with it. us-cpu/event is usher's processor time. Each iteration runs all
// the streams.
//
//	go test -run '^$' -bench BenchmarkStreams -benchtime 3x ./test/measure
func BenchmarkStreams(b *testing.B) {
	model := httptest.NewServer(http.HandlerFunc(tellTime))
	b.Cleanup(model.Close)
	direct := model.Listener.Addr().String()
	b.Run("direct", func(b *testing.B) {
		benchmarkStreams(b, direct, func() []byte { return []byte("{}") })
	})
	b.Run("usher", func(b *testing.B) {
		s := rig.NewSigner(b)
		u := rig.Start(b, rig.Env{
			"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
			"USHER_UPSTREAM_URL": model.URL, "USHER_MAX_CONCURRENCY": strconv.Itoa(benchStreams),
		})
		used := cpu(b, u.Cmd.Process.Pid)
		benchmarkStreams(b, u.Public, func() []byte { return s.Ticket().Flat("") })
		used = cpu(b, u.Cmd.Process.Pid) - used
		events := float64(b.N * benchStreams * benchTokens)
		b.ReportMetric(float64(used.Microseconds())/events, "us-cpu/event")
		b.ReportMetric(100*used.Seconds()/b.Elapsed().Seconds(), "%-of-a-core")
	})
}

// tellTime streams events that hold the time at which they were written.
func tellTime(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.URL.Path == "/health" {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for range benchTokens {
		time.Sleep(benchPause)
		if _, err := fmt.Fprintf(w, "data: %d\n\n", time.Since(epoch)); err != nil || flush.Flush() != nil {
			return
		}
	}
}

var epoch = time.Now()

func benchmarkStreams(b *testing.B, address string, body func() []byte) {
	var mu sync.Mutex
	var delays []time.Duration
	bodies := make([][]byte, b.N*benchStreams)
	for i := range bodies {
		bodies[i] = body()
	}
	b.ResetTimer()
	for i := range b.N {
		var streams sync.WaitGroup
		for _, body := range bodies[i*benchStreams : (i+1)*benchStreams] {
			streams.Go(func() {
				mine := readStream(b, address, body)
				mu.Lock()
				delays = append(delays, mine...)
				mu.Unlock()
			})
		}
		streams.Wait()
	}
	b.StopTimer()
	require.Len(b, delays, b.N*benchStreams*benchTokens)
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "us-p50")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds()), "us-p99")
}

func readStream(b *testing.B, address string, body []byte) (delays []time.Duration) {
	c, err := net.Dial("tcp", address)
	require.NoError(b, err)
	defer func() { _ = c.Close() }()
	_, err = fmt.Fprintf(c, "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(b, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(b, err)
	require.Equal(b, 200, resp.StatusCode)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			written, err := strconv.ParseInt(text, 10, 64)
			require.NoError(b, err)
			delays = append(delays, time.Since(epoch)-time.Duration(written))
		}
	}
	require.NoError(b, lines.Err())
	return delays
}
