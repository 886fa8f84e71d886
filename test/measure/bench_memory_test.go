package measure

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// TestMemoryModel is not a test: BenchmarkOpenStreams runs it as its model server, in
// another process because one process may not have enough descriptors for both ends.
func TestMemoryModel(t *testing.T) {
	if os.Getenv("MEMORY_MODEL") == "" {
		t.Skip("runs as a process of a benchmark")
	}
	st := rig.NewStage(t, false)
	fmt.Println("address", st.Address)
	select {} // killed by the benchmark
}

// BenchmarkOpenStreams opens 9,000 streams that are silent after one event, and
// measures the memory that usher needs for each: resident memory, and how much of it
// is stacks and heap. A stream takes two of usher's descriptors, so 9,000 fit into the
// usual limit of 20,000.
//
//	go test -run '^$' -bench OpenStreams -benchtime 1x ./test/measure
func BenchmarkOpenStreams(b *testing.B) {
	const streams = 9000
	model := exec.Command(os.Args[0], "-test.run", "^TestMemoryModel$")
	model.Env = append(os.Environ(), "MEMORY_MODEL=1")
	out, err := model.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, model.Start())
	b.Cleanup(func() {
		_ = model.Process.Kill()
		_ = model.Wait()
	})
	var address string
	_, err = fmt.Fscanf(out, "address %s\n", &address)
	require.NoError(b, err)
	s := rig.NewEd25519Signer(b)
	u := rig.Start(b, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": "http://" + address, "USHER_MAX_CONCURRENCY": "0",
		"USHER_HEALTH_INTERVAL": "1h", "USHER_REPLAY_WINDOW": "1000000",
	})
	before := u.Memory("VmRSS")
	conns := make([]net.Conn, streams)
	var opening sync.WaitGroup
	const openers = 8
	for o := range openers {
		opening.Go(func() {
			for i := o; i < streams; i += openers {
				c, err := net.Dial("tcp", u.Public)
				require.NoError(b, err)
				conns[i] = c
				body := s.Ticket().Flat(`"inputs":"hi"`)
				_, err = fmt.Fprintf(c, "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				require.NoError(b, err)
				buf := make([]byte, 12)
				_ = c.SetReadDeadline(time.Now().Add(3 * rig.Patience))
				_, err = c.Read(buf)
				require.NoError(b, err)
				require.Equal(b, "HTTP/1.1 200", string(buf))
			}
		})
	}
	opening.Wait()
	require.EqualValues(b, streams, u.Metric("usher_in_flight"))
	per := func(bytes float64) float64 { return bytes / streams }
	b.ReportMetric(per(float64(u.Memory("VmRSS")-before)), "resident-B/stream")
	_, text := u.Get("/metrics")
	for series, unit := range map[string]string{
		"go_memstats_stack_inuse_bytes": "stack-B/stream", "go_memstats_heap_inuse_bytes": "heap-B/stream",
		"go_goroutines": "goroutines/stream",
	} {
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, series+" "); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				require.NoError(b, err)
				b.ReportMetric(per(v), unit)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, c := range conns {
		_ = c.Close()
	}
	require.Eventually(b, func() bool { return u.Metric("usher_in_flight") == 0 }, 3*rig.Patience, 50*time.Millisecond)
	u.Kill()
}
