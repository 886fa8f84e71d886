package measure

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A silent stream holds no buffers, no goroutine and no stack. The garbage collector,
// which would shrink stacks, runs only when told to.
func TestMemoryOfASilentStream(t *testing.T) {
	full.Only(t)
	t.Parallel()
	if rig.RaceEnabled {
		t.Skip("the race detector makes frames larger")
	}
	t.Run("TCP", func(t *testing.T) {
		t.Parallel()
		testMemoryOfASilentStream(t, nil, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }, 3.6*1024)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		cert, key, _ := rig.CertificateFiles(t, t.TempDir())
		testMemoryOfASilentStream(t, rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}, func(addr string) (net.Conn, error) {
			return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		}, 10.5*1024)
	})
}

// The memory of a burst of large bodies is given back soon after the burst.
func TestMemoryAfterABurst(t *testing.T) {
	full.Only(t)
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	if rig.RaceEnabled {
		t.Skip("the race detector keeps four times what it watched")
	}
	s := rig.NewSigner(t)
	together := make(chan struct{})
	takeBodies := sync.OnceFunc(func() { close(together) })
	defer takeBodies()
	model := rig.ServeAlone(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 1<<20 {
			<-together // until then Usher has the bodies
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": model.URL, "USHER_MAX_CONCURRENCY": "0",
	}).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat(`"inputs":"hi"`)).Status)
	before := u.Memory("VmRSS")
	prompt := `"inputs":"` + strings.Repeat("x", 8<<20) + `"`
	var burst sync.WaitGroup
	for range 16 {
		body := s.Ticket().Flat(prompt)
		burst.Go(func() { assert.Equal(t, 200, u.Post("/generate", body).Status) })
	}
	require.Eventually(t, func() bool { return u.Memory("VmRSS") > before+128<<20 }, rig.Patience, time.Millisecond)
	takeBodies()
	burst.Wait()
	highest := u.Memory("VmHWM")
	began := time.Now()
	require.Eventually(t, func() bool { return u.Memory("VmRSS") < before+16<<20 }, 30*time.Second, 100*time.Millisecond)
	t.Logf("resident: %d MiB, %d at most, %d after %.1f s", before>>20, highest>>20, u.Memory("VmRSS")>>20, time.Since(began).Seconds())
}

// testMemoryOfASilentStream opens streams by the batch and takes the median of the batches:
// what Usher keeps once, such as a pool or a table that grew, falls to one of them.
func testMemoryOfASilentStream(t *testing.T, more rig.Env, dial func(addr string) (net.Conn, error), most float64) {
	const batches, batch = 5, 80
	const streams = batches * batch
	st, s := rig.NewStage(t, false), rig.NewSigner(t)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": "http://" + st.Address, "USHER_MAX_CONCURRENCY": "0",
		"USHER_PPROF_ADDR": "127.0.0.1:0", "GOGC": "off", "GODEBUG": "memprofilerate=1",
	}.With(more))
	var said struct{ Addr string }
	require.NoError(t, json.Unmarshal([]byte(u.WaitLine(`"msg":"profiles are served"`)), &said))
	alive := func() (bytes float64) { // from the heap profile, which has every allocation
		for range 2 { // pooled buffers survive one collection
			resp, err := http.Get("http://" + said.Addr + "/debug/pprof/heap?gc=1&debug=1")
			require.NoError(t, err)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			_, err = fmt.Sscanf(string(text), "heap profile: %d: %f [", new(int), &bytes)
			require.NoError(t, err)
		}
		return bytes
	}
	// A thread's own stacks count, too: of the runtime and for signals.
	stacks := func() float64 { return u.Metric("go_memstats_stack_inuse_bytes") - 48*1024*u.Metric("go_threads") }
	open := func() {
		c, err := dial(u.Public)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		body := s.Ticket().Flat(`"inputs":"hi"`)
		_, err = fmt.Fprintf(c, "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(rig.Patience)))
		head := make([]byte, len("HTTP/1.1 200"))
		_, err = c.Read(head)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200", string(head))
	}
	heap, stack, goroutines := alive(), stacks(), u.Metric("go_goroutines")
	var each [batches]float64
	for i := range each {
		for range batch {
			open()
		}
		before := heap
		heap = alive()
		each[i] = (heap - before) / batch
	}
	require.EqualValues(t, streams, u.Metric("usher_in_flight"))
	if runtime.GOOS == "linux" {
		require.Less(t, u.Metric("go_goroutines")-goroutines, streams/10.0)
		require.Less(t, (stacks()-stack)/streams, 1.0*1024)
	}
	t.Logf("bytes of heap a stream, of each batch: %.0f", each)
	slices.Sort(each[:])
	require.Less(t, each[batches/2], most)
	u.Kill() // ends the connections that the model server keeps open
}
