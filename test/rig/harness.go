// Package rig starts and drives the built binary from outside, as operators and clients
// do, with real processes, sockets and signals. It imports nothing of the project but the
// toy world around it.
package rig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience bounds every wait in these tests; none of them is a measurement.
const Patience = time.Minute

// Env is a set of settings; later ones win.
type Env map[string]string

// With returns a copy of e with more settings.
func (e Env) With(more Env) Env {
	out := Env{}
	for k, v := range e {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func (e Env) List() []string {
	var list []string
	for k, v := range (Env{"PATH": os.Getenv("PATH")}).With(e) {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// A Usher is a running binary.
type Usher struct {
	T      testing.TB
	Cmd    *exec.Cmd
	Public string // host:port
	Admin  string

	Transport http.RoundTripper // to Admin; nil: plain

	mu     sync.Mutex
	lines  []string
	News   chan struct{} // closed and replaced at each new line
	Exited chan struct{}
	Status int
	killed atomic.Bool
}

// Start runs the binary with settings that fit a loopback test, and more.
func Start(t testing.TB, settings Env) *Usher {
	t.Helper()
	return StartCommand(t, exec.Command(Binary), settings)
}

// StartCommand is Start for a binary that is run in another way.
func StartCommand(t testing.TB, cmd *exec.Cmd, settings Env) *Usher {
	t.Helper()
	u := launchCommand(t, cmd, settings)
	line := u.WaitLine(`"msg":"listening"`)
	var said struct{ Public, Admin string }
	require.NoError(t, json.Unmarshal([]byte(line), &said))
	u.Public, u.Admin = said.Public, said.Admin
	return u
}

// Launch runs the binary without waiting for it to listen.
func Launch(t testing.TB, settings Env) *Usher {
	t.Helper()
	return launchCommand(t, exec.Command(Binary), settings)
}

func launchCommand(t testing.TB, cmd *exec.Cmd, settings Env) *Usher {
	t.Helper()
	u := &Usher{T: t, Cmd: cmd, News: make(chan struct{}), Exited: make(chan struct{})}
	u.Cmd.Env = Env{
		"USHER_LISTEN_ADDR": "127.0.0.1:0", "USHER_ADMIN_ADDR": "127.0.0.1:0",
		"USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "200ms",
	}.With(settings).List()
	stderr, err := u.Cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, u.Cmd.Start())
	go u.read(stderr)
	t.Cleanup(func() {
		u.Kill()
		if lines := u.Log(); t.Failed() {
			t.Logf("usher's last lines:\n%s", strings.Join(lines[max(0, len(lines)-lastLines):], "\n"))
		}
	})
	return u
}

func (u *Usher) read(stderr io.Reader) {
	u.Gather(stderr)
	_ = u.Cmd.Wait()
	u.Status = u.Cmd.ProcessState.ExitCode()
	close(u.Exited)
}

// Gather collects lines until the end of stderr.
func (u *Usher) Gather(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		u.mu.Lock()
		u.lines = append(u.lines, lines.Text())
		close(u.News)
		u.News = make(chan struct{})
		u.mu.Unlock()
	}
}

// Log returns the lines written to stderr so far.
func (u *Usher) Log() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.lines)
}

// WaitLine waits for a line that contains text.
func (u *Usher) WaitLine(text string) string {
	u.T.Helper()
	return u.WaitRecord(text, func(line string) bool { return strings.Contains(line, text) })
}

// WaitRecord waits for a line that fits accepts; what describes it in the failure.
func (u *Usher) WaitRecord(what string, fits func(string) bool) string {
	u.T.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	seen := 0
	for {
		u.mu.Lock()
		lines, news := u.lines, u.News
		u.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if fits(lines[seen]) {
				return lines[seen]
			}
		}
		select {
		case <-news:
		case <-u.Exited:
			if len(u.Log()) > seen {
				continue
			}
			require.FailNow(u.T, "usher ended", "waiting for %s; it said:\n%s", what, strings.Join(u.Log(), "\n"))
		case <-deadline.C:
			require.FailNow(u.T, "no such line", "%s; it said:\n%s", what, strings.Join(u.Log(), "\n"))
		}
	}
}

// Ready waits until /readyz says so.
func (u *Usher) Ready() *Usher {
	u.T.Helper()
	require.Eventually(u.T, func() bool {
		resp, err := u.client().Get("http://" + u.Admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, Patience, 5*time.Millisecond, "not ready")
	return u
}

// lastLines is how much of its log a failed test shows.
const lastLines = 30

// plain asks for no compression, which would be most of the cost of a scrape.
var plain = &http.Transport{DisableCompression: true}

func (u *Usher) client() *http.Client {
	if u.Transport == nil {
		return &http.Client{Transport: plain}
	}
	return &http.Client{Transport: u.Transport}
}

func (u *Usher) Signal(s os.Signal) {
	u.T.Helper()
	require.NoError(u.T, u.Cmd.Process.Signal(s))
}

// Wait returns the exit status.
func (u *Usher) Wait() int {
	u.T.Helper()
	select {
	case <-u.Exited:
		return u.Status
	case <-time.After(Patience):
		require.FailNow(u.T, "usher did not end", "it said:\n%s", strings.Join(u.Log(), "\n"))
		return -1
	}
}

func (u *Usher) Kill() {
	u.killed.Store(true)
	_ = u.Cmd.Process.Signal(syscall.SIGKILL)
	<-u.Exited
}

// Get fetches from the admin listener.
func (u *Usher) Get(path string) (int, string) {
	u.T.Helper()
	resp, err := u.client().Get("http://" + u.Admin + path)
	require.NoError(u.T, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(u.T, err)
	return resp.StatusCode, string(body)
}

// Metric reads one sample from /metrics; an absent one is 0.
func (u *Usher) Metric(series string) float64 {
	u.T.Helper()
	_, text := u.Get("/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			_, err := fmt.Sscan(rest, &v)
			require.NoError(u.T, err)
			return v
		}
	}
	return 0
}

// WaitMetric waits until a sample of /metrics has a value.
func (u *Usher) WaitMetric(series string, want float64) {
	u.T.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(2 * time.Millisecond) {
		got := u.Metric(series)
		if got == want {
			return
		}
		require.True(u.T, time.Now().Before(deadline), "%s stays %v and does not become %v", series, got, want)
	}
}

// Memory reads a line of /proc/PID/status, in bytes: VmRSS is what the process
// holds now, VmHWM the most it ever held.
func (u *Usher) Memory(line string) int64 {
	u.T.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.Cmd.Process.Pid))
	if err != nil {
		u.T.Skipf("no /proc: %v", err)
	}
	for text := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(text, line+":"); ok {
			kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(u.T, err)
			return kB << 10
		}
	}
	require.FailNow(u.T, "no "+line)
	return 0
}
