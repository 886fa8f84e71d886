package measure

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// cpu returns the processor time that a process has used.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	var total time.Duration
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			continue // the thread has ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		require.NoError(t, err)
		total += time.Duration(n)
	}
	return total
}

// cannedModel starts a model server that answers every request with the same bytes, at
// next to no cost, to leave the machine to usher.
func cannedModel(b *testing.B) string {
	b.Helper()
	return rig.RawModel(b, func(c net.Conn, in *bufio.Reader) {
		in = bufio.NewReaderSize(in, 64<<10)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n{\"generated_text\":\"ok\"}"); err != nil {
				return
			}
		}
	})
}

// BenchmarkSigned sends distinct signed requests over kept connections, as fast as
// they are answered. us-cpu/op is usher's own processor time.
//
//	go test -run '^$' -bench BenchmarkSigned ./test/measure
func BenchmarkSigned(b *testing.B) {
	for _, prompt := range []int{1 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("prompt=%dKB", prompt>>10), func(b *testing.B) { benchmarkSigned(b, prompt) })
	}
}

func benchmarkSigned(b *testing.B, prompt int) {
	const connections = 16
	s := rig.NewSigner(b)
	u := rig.Start(b, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": cannedModel(b), "USHER_REPLAY_WINDOW": "1000000",
		"USHER_REORDER_HOLD": "0",
	})
	requests := make([][]byte, b.N)
	text := `"inputs":"` + strings.Repeat("lorem ipsum ", prompt/12) + `"`
	for i := range requests {
		body := s.Ticket().Flat(text)
		requests[i] = append(fmt.Appendf(nil, "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
	}
	var next atomic.Int64
	var mu sync.Mutex
	var latencies []time.Duration
	used := cpu(b, u.Cmd.Process.Pid)
	b.ResetTimer()
	var clients sync.WaitGroup
	for range connections {
		clients.Go(func() {
			c, err := net.Dial("tcp", u.Public)
			require.NoError(b, err)
			defer func() { _ = c.Close() }()
			in := bufio.NewReader(c)
			var mine []time.Duration
			for i := next.Add(1) - 1; i < int64(len(requests)); i = next.Add(1) - 1 {
				begin := time.Now()
				_, err := c.Write(requests[i])
				require.NoError(b, err)
				resp, err := http.ReadResponse(in, nil)
				require.NoError(b, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				require.Equal(b, 200, resp.StatusCode)
				mine = append(mine, time.Since(begin))
			}
			mu.Lock()
			latencies = append(latencies, mine...)
			mu.Unlock()
		})
	}
	clients.Wait()
	b.StopTimer()
	used = cpu(b, u.Cmd.Process.Pid) - used
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "us-cpu/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "us-p50")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "us-p99")
	u.Kill()
}
