package measure

import (
	"bufio"
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

	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/rig"
)

// BenchmarkDeadAutoscaler sends 2,000 requests a second to two Ushers, half a second
// at a time in turn. One reports to an autoscaler that accepts connections and never
// answers, so its reports pile up; the other reports to nobody. The figures are the
// ratio of their latencies, and how much more the memory of the first one grew.
//
//	go test -run '^$' -bench BenchmarkDeadAutoscaler -benchtime 20000x ./test/measure
func BenchmarkDeadAutoscaler(b *testing.B) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer func() { _ = silent.Close() }()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	s, model := rig.NewEd25519Signer(b), cannedModel(b)
	base := rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(), "USHER_UPSTREAM_URL": model,
		"USHER_REORDER_HOLD": "0", "USHER_LOG_LEVEL": "warn", "USHER_REPLAY_WINDOW": "1000000",
	}
	lanes := []*lane{
		{usher: startQuiet(b, base.With(rig.Env{
			"REPORT_ADDR": "http://" + silent.Addr().String(), "CONTAINER_ID": "1", "MASTER_TOKEN": "t", "USHER_BENCHMARK": "1",
		}))},
		{usher: startQuiet(b, base)},
	}
	for _, l := range lanes {
		l.prepare(b, s, b.N)
	}
	for _, l := range lanes { // warm
		l.run(b, b.N/10)
		l.took, l.before = nil, l.usher.Memory("VmRSS")
	}
	b.ResetTimer()
	for first := 0; lanes[1].next < b.N; first = 1 - first { // neither always goes first
		for _, l := range []*lane{lanes[first], lanes[1-first]} {
			l.run(b, min(1000, b.N-l.next))
		}
	}
	b.StopTimer()
	reporting, other := lanes[0], lanes[1]
	b.ReportMetric(ratio(reporting.took, other.took, 0.5), "p50-ratio")
	b.ReportMetric(ratio(reporting.took, other.took, 0.99), "p99-ratio")
	b.ReportMetric(float64(reporting.usher.Memory("VmRSS")-reporting.before-other.usher.Memory("VmRSS")+other.before)/1024, "KiB-grown-more")
	for _, l := range lanes {
		l.usher.Kill()
	}
}

// startQuiet starts an Usher that logs only warnings, and so does not say where it
// listens.
func startQuiet(b *testing.B, settings rig.Env) *rig.Usher {
	b.Helper()
	ports := []string{freeAddress(b), freeAddress(b)}
	u := rig.Launch(b, settings.With(rig.Env{"USHER_LISTEN_ADDR": ports[0], "USHER_ADMIN_ADDR": ports[1]}))
	u.Public, u.Admin = ports[0], ports[1]
	return u.Ready()
}

func freeAddress(b *testing.B) string {
	b.Helper()
	address, err := loopback.Address()
	require.NoError(b, err)
	return address
}

// A lane is one Usher under a paced load over eight kept connections.
type lane struct {
	usher    *rig.Usher
	requests [][]byte
	next     int
	took     []time.Duration
	before   int64 // memory, in bytes
}

func (l *lane) prepare(b *testing.B, s *rig.Signer, n int) {
	for i := range n {
		body := s.Indexed("16.0", fmt.Sprint(i+1)).Flat(`"inputs":"` + strings.Repeat("lorem ipsum ", 40) + `"`)
		l.requests = append(l.requests, append(fmt.Appendf(nil, "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n", len(body)), body...))
	}
}

// run sends the next n requests at 2,000 a second.
func (l *lane) run(b *testing.B, n int) {
	const connections = 8
	var clients sync.WaitGroup
	took := make([][]time.Duration, connections)
	start := time.Now()
	for c := range connections {
		clients.Go(func() {
			conn, err := net.Dial("tcp", l.usher.Public)
			require.NoError(b, err)
			defer func() { _ = conn.Close() }()
			in := bufio.NewReader(conn)
			for i := c; i < n; i += connections {
				time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / 2000)))
				begin := time.Now()
				_, err := conn.Write(l.requests[l.next+i])
				require.NoError(b, err)
				resp, err := http.ReadResponse(in, nil)
				require.NoError(b, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				require.Equal(b, 200, resp.StatusCode)
				took[c] = append(took[c], time.Since(begin))
			}
		})
	}
	clients.Wait()
	l.next += n
	l.took = append(l.took, slices.Concat(took...)...)
}

// ratio returns the ratio of a quantile of a to that of b.
func ratio(a, b []time.Duration, quantile float64) float64 {
	at := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[min(len(list)-1, int(quantile*float64(len(list))))])
	}
	return at(a) / at(b)
}
