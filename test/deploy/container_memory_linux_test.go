package deploy

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

const largest = 16 << 20

var padding = bytes.Repeat([]byte("a "), largest/2)

// sendLarge sends a request with a body of the largest size, without its last missing
// bytes. It stops early if the request is refused.
func sendLarge(address string, ticket rig.Ticket, missing int) (net.Conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	before, after, _ := bytes.Cut(ticket.Flat(`"inputs":"|"`), []byte("|"))
	pad := padding[:largest-len(before)-len(after)]
	pieces := net.Buffers{[]byte(rig.Head(largest)), before, pad, after}
	if missing > 0 {
		pieces = net.Buffers{pieces[0], before, pad[:len(pad)-missing]}
	}
	_ = c.SetDeadline(time.Now().Add(10 * rig.Patience))
	_, _ = pieces.WriteTo(c) // one that is refused may be reset before all is sent
	return c, nil
}

// answered returns the status of the answer, or 0 if the connection was reset first.
func answered(c net.Conn) int {
	head := make([]byte, len("HTTP/1.1 200"))
	if n, err := c.Read(head); err != nil || n < len(head) {
		return 0
	}
	status := 0
	_, _ = fmt.Sscanf(string(head), "HTTP/1.1 %d", &status)
	return status
}

// A prober requests a path again and again, as an orchestrator does.
type prober struct {
	end   chan struct{}
	done  chan struct{}
	took  []time.Duration
	fault error
}

func probe(url string) *prober {
	p := &prober{end: make(chan struct{}), done: make(chan struct{})}
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(p.done)
		for {
			began := time.Now()
			resp, err := client.Get(url)
			switch {
			case err != nil:
				p.fault = err
				return
			case resp.StatusCode != http.StatusOK:
				p.fault = fmt.Errorf("%s: %s", url, resp.Status)
			}
			_ = resp.Body.Close()
			p.took = append(p.took, time.Since(began))
			select {
			case <-p.end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return p
}

// ended ends the prober and returns how long the answers took.
func (p *prober) ended(t *testing.T, what string) {
	t.Helper()
	close(p.end)
	<-p.done
	require.NoError(t, p.fault, what)
	slices.Sort(p.took)
	at := func(share float64) time.Duration {
		return p.took[int(share*float64(len(p.took)-1))].Round(100 * time.Microsecond)
	}
	t.Logf("%s: %d answers, median %v, 99 %% %v, longest %v", what, len(p.took), at(.5), at(.99), at(1))
}

// side makes n calls, some at a time.
func side(n, atOnce int, call func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				call()
			}
		})
	}
	all.Wait()
}

// In a small container with default sizes, 2,000 streams are open and bodies of the
// largest size come in at once, from clients with tickets and from clients that never
// finish. This never takes more memory than there is: what does not fit is told to
// retry, and is served in the end.
func TestContainerKeepsBelowItsMemory(t *testing.T) {
	needContainer(t)
	const streams, large, unfinished = 2000, 24, 16
	im := buildImage(t, readDockerfile(t))
	s, st := rig.NewSigner(t), rig.NewStage(t, false)
	c := startContainer(t, im, small, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": "http://" + st.Address, "USHER_MAX_CONCURRENCY": rig.Itoa(streams + large),
	})
	c.cgroup.need()
	w := c.cgroup.watch()
	live, ready := probe("http://"+c.Admin+"/livez"), probe("http://"+c.Admin+"/readyz")
	var mu sync.Mutex
	var open []net.Conn
	keep := func(conn net.Conn) { mu.Lock(); open = append(open, conn); mu.Unlock() }
	t.Cleanup(func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	var lost atomic.Int64
	alive := func(where string) {
		t.Helper()
		select {
		case <-c.Exited:
			most, _ := w.peak()
			require.FailNow(t, "the container ended", "%s: status %d, at most %v used", where, c.Status, most)
		default:
		}
	}
	side(streams, 32, func() {
		conn, err := net.Dial("tcp", c.Public)
		if err != nil {
			lost.Add(1)
			return
		}
		keep(conn)
		body := s.Ticket().Flat(`"inputs":"hi"`)
		_ = conn.SetDeadline(time.Now().Add(10 * rig.Patience))
		if _, err = conn.Write(append([]byte(rig.Head(len(body))), body...)); err != nil || answered(conn) != 200 {
			lost.Add(1)
		}
	})
	alive("streams")
	require.Zero(t, lost.Load(), "streams that did not begin")
	require.EqualValues(t, streams, c.Metric("usher_in_flight"))
	usage, _ := c.cgroup.usage()
	t.Logf("%d streams: %v", streams, usage)

	var crowd sync.WaitGroup
	for range unfinished {
		crowd.Go(func() {
			if conn, err := sendLarge(c.Public, s.Ticket(), 1); err == nil {
				keep(conn)
			}
		})
	}
	var refused atomic.Int64
	began := time.Now()
	crowd.Go(func() {
		side(large, 8, func() {
			ticket := s.Ticket()
			for time.Since(began) < 10*rig.Patience {
				conn, err := sendLarge(c.Public, ticket, 0)
				if err != nil {
					break
				}
				keep(conn)
				if status := answered(conn); status == 200 {
					return
				}
				refused.Add(1)
				_ = conn.Close()
				time.Sleep(50 * time.Millisecond)
			}
			lost.Add(1)
		})
	})
	crowd.Wait()
	alive("bodies")
	require.Zero(t, lost.Load(), "bodies that never found room")
	require.EqualValues(t, streams+large, c.Metric("usher_in_flight"))
	live.ended(t, "/livez")
	ready.ended(t, "/readyz")
	require.Zero(t, c.cgroup.kills())
	require.LessOrEqual(t, c.cgroup.mostTasks(), small.pids)
	most, processes := w.peak()
	t.Logf("%d bodies of %d MiB, %d unfinished ones, %d refused meanwhile: at most %v used, or %v; %d tasks, throttled in %d periods of 100 ms",
		large, largest>>20, unfinished, refused.Load(), most, processes, c.cgroup.mostTasks(), c.cgroup.throttled())
	// Socket buffers are limited by the kernel itself when memory is short.
	require.Less(t, processes.processes+processes.kernel, small.memory)
	for _, conn := range open {
		_ = conn.Close()
	}
	c.WaitMetric("usher_in_flight", 0)
	c.signal(syscall.SIGTERM)
	require.Zero(t, c.Wait(), "the container must drain and exit 0 at SIGTERM")
}
