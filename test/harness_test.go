// Package test drives the built binary from outside, as operators and clients
// do: real processes, sockets and signals. The rest of the project is not
// imported, but for the toy world around it.
package test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait in these tests; none of them is a measurement.
const patience = 20 * time.Second

var binary string

// besides is how many tests run side by side on each processor: most of their
// time they wait for one another's processes.
const besides = 4

func TestMain(m *testing.M) {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(besides*runtime.GOMAXPROCS(0)))
	}
	dir, err := os.MkdirTemp("", "usher-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "usher")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "../cmd/usher")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building usher:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// env is a set of settings; later ones win.
type env map[string]string

// with returns a copy of e with more settings.
func (e env) with(more env) env {
	out := env{}
	for k, v := range e {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func (e env) list() []string {
	var list []string
	for k, v := range (env{"PATH": os.Getenv("PATH")}).with(e) {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// A usher is a running binary.
type usher struct {
	t      testing.TB
	cmd    *exec.Cmd
	public string // host:port
	admin  string

	mu     sync.Mutex
	lines  []string
	news   chan struct{} // closed and replaced at each new line
	exited chan struct{}
	status int
}

// start runs the binary with settings that fit a loopback test, and more.
func start(t testing.TB, settings env) *usher {
	t.Helper()
	return startCommand(t, exec.Command(binary), settings)
}

// startCommand is start for a binary that is run in another way.
func startCommand(t testing.TB, cmd *exec.Cmd, settings env) *usher {
	t.Helper()
	u := launchCommand(t, cmd, settings)
	line := u.waitLine(`"msg":"listening"`)
	var said struct{ Public, Admin string }
	require.NoError(t, json.Unmarshal([]byte(line), &said))
	u.public, u.admin = said.Public, said.Admin
	return u
}

// launch runs the binary without waiting for it to listen.
func launch(t testing.TB, settings env) *usher {
	t.Helper()
	return launchCommand(t, exec.Command(binary), settings)
}

func launchCommand(t testing.TB, cmd *exec.Cmd, settings env) *usher {
	t.Helper()
	u := &usher{t: t, cmd: cmd, news: make(chan struct{}), exited: make(chan struct{})}
	u.cmd.Env = env{
		"USHER_LISTEN_ADDR": "127.0.0.1:0", "USHER_ADMIN_ADDR": "127.0.0.1:0",
		"USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "200ms",
	}.with(settings).list()
	stderr, err := u.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, u.cmd.Start())
	go u.read(stderr)
	t.Cleanup(u.kill)
	return u
}

func (u *usher) read(stderr io.Reader) {
	u.gather(stderr)
	_ = u.cmd.Wait()
	u.status = u.cmd.ProcessState.ExitCode()
	close(u.exited)
}

// gather takes lines until there are no more.
func (u *usher) gather(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		u.mu.Lock()
		u.lines = append(u.lines, lines.Text())
		close(u.news)
		u.news = make(chan struct{})
		u.mu.Unlock()
	}
}

// log returns what was written to stderr so far.
func (u *usher) log() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.lines)
}

// waitLine waits for a line that holds text.
func (u *usher) waitLine(text string) string {
	u.t.Helper()
	return u.waitRecord(text, func(line string) bool { return strings.Contains(line, text) })
}

// waitRecord waits for a line that fits.
func (u *usher) waitRecord(what string, fits func(string) bool) string {
	u.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	seen := 0
	for {
		u.mu.Lock()
		lines, news := u.lines, u.news
		u.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if fits(lines[seen]) {
				return lines[seen]
			}
		}
		select {
		case <-news:
		case <-u.exited:
			if len(u.log()) > seen {
				continue
			}
			require.FailNow(u.t, "usher ended", "waiting for %s; it said:\n%s", what, strings.Join(u.log(), "\n"))
		case <-deadline.C:
			require.FailNow(u.t, "no such line", "%s; it said:\n%s", what, strings.Join(u.log(), "\n"))
		}
	}
}

// ready waits until /readyz says so.
func (u *usher) ready() *usher {
	u.t.Helper()
	require.Eventually(u.t, func() bool {
		resp, err := http.Get("http://" + u.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, patience, 5*time.Millisecond, "not ready")
	return u
}

func (u *usher) signal(s os.Signal) {
	u.t.Helper()
	require.NoError(u.t, u.cmd.Process.Signal(s))
}

// wait returns the exit status.
func (u *usher) wait() int {
	u.t.Helper()
	select {
	case <-u.exited:
		return u.status
	case <-time.After(patience):
		require.FailNow(u.t, "usher did not end", "it said:\n%s", strings.Join(u.log(), "\n"))
		return -1
	}
}

func (u *usher) kill() {
	_ = u.cmd.Process.Signal(syscall.SIGKILL)
	<-u.exited
}

// get fetches from the admin listener.
func (u *usher) get(path string) (int, string) {
	u.t.Helper()
	resp, err := http.Get("http://" + u.admin + path)
	require.NoError(u.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(u.t, err)
	return resp.StatusCode, string(body)
}

// metric reads one sample from /metrics; absent is 0.
func (u *usher) metric(series string) float64 {
	u.t.Helper()
	_, text := u.get("/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			_, err := fmt.Sscan(rest, &v)
			require.NoError(u.t, err)
			return v
		}
	}
	return 0
}

// memory reads a line of /proc/PID/status, in bytes: VmRSS is what the process
// holds now, VmHWM the most it ever held.
func (u *usher) memory(line string) int64 {
	u.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.cmd.Process.Pid))
	if err != nil {
		u.t.Skipf("no /proc: %v", err)
	}
	for text := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(text, line+":"); ok {
			kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(u.t, err)
			return kB << 10
		}
	}
	require.FailNow(u.t, "no "+line)
	return 0
}
