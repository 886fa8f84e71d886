package deploy

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Under a real runtime the container starts, serves, reports its health and drains, as
// the image's user and with every privilege dropped.
func TestContainerServesAndDrains(t *testing.T) {
	needContainer(t)
	d := readDockerfile(t)
	im := buildImage(t, d)
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	c := startContainer(t, im, small, rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": "/var/lib/usher/window"}))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid()))
	require.NoError(t, err)
	for _, line := range []string{
		"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n", "NoNewPrivs:\t1\n",
		"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "\t1\n", // NSpid: it is the first process
	} {
		require.Contains(t, string(status), line)
	}
	if c.cgroup.usable {
		line := c.WaitLine(`"msg":"memory limit"`)
		for _, member := range []string{`"bytes":134217728`, `"gomemlimit":89478484`, `"queue_bytes":33554432`, `"bodies_bytes":50331648`, `"max_connections":2048`} {
			require.Contains(t, line, member)
		}
	} else {
		t.Log("cgroups cannot be made here: no limit was enforced")
	}
	require.Equal(t, http.StatusOK, c.Post("/generate", s.Ticket().Flat(`"inputs":"a"`)).Status)
	exit, said := c.exec(rig.Env{"USHER_ADMIN_ADDR": c.Admin}, d.exec("HEALTHCHECK")...)
	require.Zero(t, exit, said)
	c.signal(syscall.SIGTERM)
	require.Zero(t, c.Wait(), "the container must drain and exit 0 at SIGTERM")
}

// When the container's first process crashes, it ends with a status other than 0 and
// shows what happened, although the kernel withholds SIGABRT from it.
func TestContainerCrashIsSeen(t *testing.T) {
	needContainer(t)
	im := buildImage(t, readDockerfile(t))
	c := startContainer(t, im, small, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)))
	c.signal(syscall.SIGQUIT)
	require.Equal(t, 2, c.Wait())
	log := strings.Join(c.Log(), "\n")
	require.Contains(t, log, "SIGQUIT")
	require.Contains(t, log, "goroutine 1 ")
}

// A tiny container accepts bodies that fit. If it is set to accept larger ones, it
// warns at the start that it has no memory for them. The kernel kills it without
// warning, with status 137, and the ticket of the body that caused it is not spent.
func TestContainerWithoutMemory(t *testing.T) {
	needContainer(t)
	im := buildImage(t, readDockerfile(t))
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	with := rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": "/var/lib/usher/window"})
	tiny := small
	tiny.memory = 20 << 20
	c := startContainer(t, im, tiny, with)
	c.cgroup.need()
	require.Equal(t, "body_too_large", c.Post("/generate", s.Ticket().Flat(`"inputs":"`+string(padding[:tiny.memory/4])+`"`)).Code(), "by default a body that does not fit the memory must be refused")
	c.remove()

	c = startContainer(t, im, tiny, with.With(rig.Env{"USHER_MAX_BODY_BYTES": "16MiB"}))
	require.Contains(t, c.WaitLine("USHER_MAX_BODY_BYTES is more"), `"level":"warn"`)
	ticket := s.Ticket()
	conn, err := sendLarge(c.Public, ticket, 0)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.Equal(t, 128+int(syscall.SIGKILL), c.Wait())
	require.Contains(t, c.Log()[len(c.Log())-1], `"level":"info"`, "a container killed for want of memory has no time to log it")
	c.remove()
	require.Empty(t, m.Arrivals())
	c = startContainer(t, im, small, with)
	require.Equal(t, http.StatusOK, c.Post("/generate", ticket.Flat("")).Status)
}

// While load uses up the CPU quota, probes are answered from outside and inside,
// honest requests are served, and the model server stays healthy.
func TestContainerAnswersProbesWhileThrottled(t *testing.T) {
	needContainer(t)
	d := readDockerfile(t)
	im := buildImage(t, d)
	s := rig.NewSigner(t)
	tight := small
	tight.quota = 20 * time.Millisecond // which it uses up on a busy machine, too
	c := startContainer(t, im, tight, rig.Settings(rig.NewModel(t, nil), s))
	c.cgroup.need()
	used := s.Ticket().Flat("")
	require.Equal(t, http.StatusOK, c.Post("/generate", used).Status)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	post := func(body []byte) int {
		resp, err := client.Post("http://"+c.Public+"/generate", "application/json", bytes.NewReader(body))
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	var flood sync.WaitGroup
	var over atomic.Bool
	defer over.Store(true)
	var sent, odd atomic.Int64
	for range 64 {
		flood.Go(func() {
			for !over.Load() {
				if sent.Add(1); post(used) != http.StatusConflict {
					odd.Add(1)
				}
			}
		})
	}
	before := c.cgroup.throttled()
	probes := map[string]*prober{}
	for _, url := range []string{c.Admin + "/livez", c.Admin + "/readyz", c.Public + "/health", c.Admin + "/metrics"} {
		probes[url] = probe("http://" + url)
	}
	deadline := time.Now().Add(3 * rig.Patience)
	honest, checks := 0, 0
	for c.cgroup.throttled() < before+100 && time.Now().Before(deadline) {
		honest++
		require.Equal(t, http.StatusOK, post(s.Ticket().Flat("")))
		if checks < 5 {
			checks++
			exit, said := c.exec(rig.Env{"USHER_ADMIN_ADDR": c.Admin}, d.exec("HEALTHCHECK")...)
			require.Zero(t, exit, said)
		}
	}
	throttled := c.cgroup.throttled() - before
	over.Store(true)
	for _, url := range slices.Sorted(maps.Keys(probes)) {
		probes[url].ended(t, url[strings.Index(url, "/"):])
	}
	flood.Wait()
	t.Logf("%v of 100 ms: %d refusals, %d honest requests served, throttled in %d periods", tight.quota, sent.Load(), honest, throttled)
	require.Positive(t, throttled, "the quota was never used up")
	require.Zero(t, odd.Load(), "replays that were not refused as such")
	for _, line := range c.Log() {
		require.NotContains(t, line, "not healthy")
	}
}

// Killed and restarted on one volume, the container starts each time, and no ticket is
// ever admitted twice, whatever was under way.
func TestContainerSurvivesKills(t *testing.T) {
	needContainer(t)
	const kills, clients, again = 200, 4, 24
	im := buildImage(t, readDockerfile(t))
	s := rig.NewEd25519Signer(t)
	var mu sync.Mutex
	arrived := map[string]int{}
	m := rig.NewModel(t, nil)
	m.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		arrived[string(body)]++
		mu.Unlock()
		_, _ = io.WriteString(w, "{}")
	})
	with := rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": "/var/lib/usher/window", "USHER_REORDER_HOLD": "0"})
	var sent [][]byte // bodies, in the order of their numbers
	served, refused := 0, 0
	for range kills {
		c := startContainer(t, im, small, with)
		pid := c.pid()
		client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
		post := func(body []byte) int {
			resp, err := client.Post("http://"+c.Public+"/generate", "application/json", bytes.NewReader(body))
			if err != nil {
				return 0
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		// The last tickets before the kill, which may have interrupted them, and some
		// older ones.
		for i := range again {
			n := len(sent) - 1 - i
			if i >= again/2 {
				n = len(sent) - 1 - rand.IntN(len(sent)+1)
			}
			if n < 0 || n >= len(sent) {
				continue
			}
			mu.Lock()
			before := arrived[fmt.Sprintf(`{"inputs":"%d"}`, n)]
			mu.Unlock()
			if status := post(sent[n]); before > 0 {
				require.Equal(t, http.StatusConflict, status, "ticket %d was spent", n)
				refused++
			}
		}
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for {
					mu.Lock()
					body := s.Ticket().Flat(fmt.Sprintf(`"inputs":"%d"`, len(sent)))
					sent = append(sent, body)
					mu.Unlock()
					switch post(body) {
					case http.StatusOK:
						mu.Lock()
						served++
						mu.Unlock()
					case 0:
						return
					}
				}
			})
		}
		time.Sleep(rand.N(60 * time.Millisecond))
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		all.Wait()
		require.Equal(t, 128+int(syscall.SIGKILL), c.Wait())
		c.remove()
	}
	twice := 0
	for _, n := range arrived {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d kills, %d tickets sent, %d reached the model server, %d were answered, %d sent again after that and refused", kills, len(sent), len(arrived), served, refused)
	require.Zero(t, twice, "tickets admitted twice")
	require.Positive(t, refused)
}
