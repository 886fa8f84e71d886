package security

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// Unverified clients cannot fill the memory with bodies that never send their last
// byte, and while they try, a prompt of ordinary size still passes.
func TestUnfinishedBodiesAreBounded(t *testing.T) {
	const clients, size, queue = 96, 4 << 20, 32 << 20
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{
		"USHER_MAX_BODY_BYTES": rig.Itoa(size), "USHER_QUEUE_BYTES": rig.Itoa(queue), "USHER_READ_TIMEOUT": "10m",
	})).Ready()
	before := u.Memory("VmRSS")
	body := bytes.Repeat([]byte("x"), size-1)
	var refused, other atomic.Int64
	var crowd sync.WaitGroup
	conns := make([]net.Conn, clients)
	for i := range conns {
		c := rig.Dial(t, u.Public)
		conns[i] = c
		crowd.Go(func() {
			// A refused client's connection may be reset before it has sent
			// everything.
			_, _ = io.WriteString(c, rig.Head(size))
			_, _ = c.Write(body)
			resp, err := http.ReadResponse(c.In, nil)
			if err != nil {
				return // let go below
			}
			if resp.StatusCode == 429 && resp.Header.Get("X-Usher-Refusal") == "queue_full" && resp.Close {
				refused.Add(1)
			} else {
				other.Add(1)
			}
		})
	}
	// Each body takes 4 MiB of the 32 while it is held.
	require.Eventually(t, func() bool { return refused.Load() >= clients-queue/size }, rig.Patience, 10*time.Millisecond)
	require.LessOrEqual(t, u.Metric("usher_reading_bytes"), float64(queue))
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat(`"inputs":"`+strings.Repeat("y", 8<<10)+`"`)).Status)
	for _, c := range conns {
		_ = c.Close()
	}
	crowd.Wait()
	require.Zero(t, other.Load())
	u.WaitMetric("usher_reading_bytes", 0)
	grown := u.Memory("VmHWM") - before
	t.Logf("%d clients with %d MiB each: at most %d MiB", clients, size>>20, grown>>20)
	if !rig.RaceEnabled {
		// There may be as much garbage as there is memory in use.
		require.Less(t, grown, int64(clients*size/2))
	}
	full := s.Ticket().Flat("")
	full = s.Ticket().Flat(`"inputs":"` + strings.Repeat("y", size-len(full)-50) + `"`)
	require.Equal(t, 200, u.Post("/generate", full).Status)
}

// Many large signed bodies at once are served or told that there is no room, and
// memory stays bounded.
func TestLargeBodiesAtOnce(t *testing.T) {
	full.Only(t)
	const clients = 32
	size := 16 << 20
	if rig.RaceEnabled {
		size = 1 << 20 // the detector makes half a gigabyte take minutes
	}
	queue := 4 * size
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	m.Respond = func(http.ResponseWriter, *http.Request) { <-release }
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_QUEUE_BYTES": rig.Itoa(queue), "USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_TIMEOUT": "10m",
	})).Ready()
	before := u.Memory("VmRSS")
	text := `"inputs":"` + strings.Repeat("y", size-1024) + `"`
	var mu sync.Mutex
	got := map[string]int{}
	var crowd sync.WaitGroup
	for range clients {
		body := s.Ticket().Flat(text)
		crowd.Go(func() {
			outcome := outcomeOf(u, body)
			mu.Lock()
			got[outcome]++
			mu.Unlock()
		})
	}
	settled := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got["queue_full"]+int(u.Metric("usher_waiting")+u.Metric("usher_in_flight")) == clients
	}
	require.Eventually(t, settled, 3*rig.Patience, 10*time.Millisecond)
	waiting := u.Metric("usher_waiting_bytes")
	end()
	crowd.Wait()
	require.LessOrEqual(t, waiting, float64(queue))
	require.Equal(t, clients, got["queue_full"]+got["ok"], "%v", got)
	require.Positive(t, got["ok"])
	grown := u.Memory("VmHWM") - before
	t.Logf("%d bodies of %d MiB: at most %d MiB, %v", clients, size>>20, grown>>20, got)
	if !rig.RaceEnabled {
		// The room, the queue and the body at the model server; as much again may be
		// garbage, and more arrives during a collection.
		require.Less(t, grown, int64(3*(queue+queue+size)))
	}
}

// outcomeOf posts a body and returns the outcome.
func outcomeOf(u *rig.Usher, body []byte) string {
	client := http.Client{Timeout: 3 * rig.Patience}
	resp, err := client.Post("http://"+u.Public+"/generate", "application/json", bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == 200 {
		return "ok"
	}
	text, _ := io.ReadAll(resp.Body)
	var said struct {
		Code string `json:"error_type"`
	}
	_ = json.Unmarshal(text, &said)
	return said.Code
}

// A body waits as a whole: members that are not forwarded take memory too, and count.
func TestWhatIsNotForwardedCounts(t *testing.T) {
	t.Parallel()
	const size = 600 << 10
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	m.Respond = func(http.ResponseWriter, *http.Request) { <-release }
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_QUEUE_BYTES": "1MiB", "USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_TIMEOUT": "10m", "USHER_REORDER_HOLD": "0",
	})).Ready()
	outcomes := make(chan string, 3)
	post := func(more int) {
		body := s.Ticket().Nested("{}")
		body = append(bytes.TrimSuffix(body, []byte("}")), `,"more":"`+strings.Repeat("y", more)+`"}`...)
		go func() { outcomes <- outcomeOf(u, body) }()
	}
	post(0)
	u.WaitMetric("usher_in_flight", 1)
	post(size)
	u.WaitMetric("usher_waiting", 1)
	require.Greater(t, u.Metric("usher_waiting_bytes"), float64(size))
	post(size)
	require.Equal(t, "queue_full", <-outcomes)
	end()
	require.Equal(t, "ok", <-outcomes)
	require.Equal(t, "ok", <-outcomes)
}
