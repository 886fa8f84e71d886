package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/usher-sidecar/usher/test/logreader"
	"github.com/usher-sidecar/usher/test/rig"
)

// An usher is the real binary, always started at the same addresses.
type usher struct {
	settings []string
	files    int    // ulimit -n; 0: unchanged
	state    string // the state file
	public   string
	admin    string
	fail     func(format string, args ...any)

	folder string // for pipes

	serving atomic.Bool // it has started and must not end

	cmd    *exec.Cmd
	log    *logreader.Reader
	read   chan struct{} // closed at the log's end
	exited chan struct{}

	mu       sync.Mutex
	expected bool     // whether its end is
	said     []string // the last lines that are not about a request
	requests []string // the last lines that are
}

// start runs the binary and waits until it serves.
func (u *usher) start() error {
	u.cmd = exec.Command(rig.Binary)
	if u.files > 0 {
		u.cmd = exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d && exec %q", u.files, rig.Binary))
	}
	u.cmd.Env = append(u.settings, "PATH="+os.Getenv("PATH"), "GORACE="+os.Getenv("GORACE"))
	if err := u.launch(); err != nil {
		return err
	}
	err := eventually("usher is ready", func() bool {
		select {
		case <-u.exited:
			return true
		default:
		}
		resp, err := admin.Get("http://" + u.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	select {
	case <-u.exited:
		return errors.New("usher does not start")
	default:
		u.serving.Store(err == nil)
		return err
	}
}

// launch starts the process, the reader of its log, and the goroutine that notices an
// unexpected end.
func (u *usher) launch() error {
	dir, err := os.MkdirTemp(u.folder, "log")
	if err != nil {
		return err
	}
	log, stderr, err := logreader.New(dir)
	if err != nil {
		return err
	}
	defer func() { _ = stderr.Close() }()
	u.cmd.Stderr = stderr
	if err := u.cmd.Start(); err != nil {
		log.Leave()
		return err
	}
	u.mu.Lock()
	u.expected = false
	u.mu.Unlock()
	u.log, u.read, u.exited = log, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(u.read)
		u.follow(log)
	}()
	go func() {
		defer close(u.exited)
		err := u.cmd.Wait()
		u.mu.Lock()
		expected := u.expected
		u.mu.Unlock()
		if !expected {
			u.fail("usher stays up: it ended with %v; its last lines:\n%s", err, u.last(""))
		}
	}()
	return nil
}

// readOn makes the log be read again, whether its reader paused or went away.
func (u *usher) readOn() error {
	err := u.log.Return()
	u.log.Continue()
	return err
}

// follow reads the log and keeps its last lines.
func (u *usher) follow(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		u.mu.Lock()
		if strings.Contains(line, `"msg":"request"`) {
			u.requests = append(u.requests, line)
			if len(u.requests) > 40_000 {
				u.requests = append([]string(nil), u.requests[20_000:]...)
			}
		} else {
			u.said = append(u.said[max(0, len(u.said)-40):], line)
		}
		u.mu.Unlock()
		if strings.Contains(line, "DATA RACE") || strings.Contains(line, "internal fault") || strings.HasPrefix(line, "panic:") {
			u.fail("usher is sound: %s", line)
		}
	}
}

// last returns the last lines of the log, and those about requests whose ids are in
// the text.
func (u *usher) last(text string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	lines := u.said
	for _, line := range u.requests {
		_, rest, _ := strings.Cut(line, `"request_id":"`)
		if name, _, ok := strings.Cut(rest, `"`); ok && strings.Contains(text, name) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// end sends a signal, waits for the process to end and returns its exit status.
func (u *usher) end(s os.Signal) (int, error) {
	u.serving.Store(false)
	u.mu.Lock()
	u.expected = true
	u.mu.Unlock()
	if err := u.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	var err error
	select {
	case <-u.exited:
	case <-time.After(patience):
		err = fmt.Errorf("usher did not end on %v", s)
		_ = u.cmd.Process.Signal(syscall.SIGKILL)
		<-u.exited
	}
	err = errors.Join(err, u.readOn())
	<-u.read
	u.log.Leave()
	return u.cmd.ProcessState.ExitCode(), err
}

// admin is the client of the admin listener. It keeps no connection open, since that
// would be counted as one of Usher's.
var admin = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

// metrics reads /metrics into a map from series, labels included, to values.
func (u *usher) metrics() (map[string]float64, error) {
	resp, err := admin.Get("http://" + u.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	return values, lines.Err()
}

// gone returns how many clients Usher has seen leaving on the route of the outsiders.
func (u *usher) gone() float64 {
	m, err := u.metrics()
	if err != nil {
		return 0
	}
	return m[`usher_requests_total{outcome="client_gone",route="/generate"}`]
}

// baselines are the measures that must come back to where they were, each with its
// tolerance: the scrape's own connection and goroutines, a timer, a probe.
var baselines = []struct {
	name string
	room float64
}{
	{"usher_in_flight", 0}, {"usher_sessions", 0}, {"usher_waiting", 0}, {"usher_held", 0}, {"usher_waiting_bytes", 0},
	{"usher_reading_bytes", 0}, {"usher_tls_handshakes_waiting", 0},
	{"usher_connections", 0}, {"usher_panics_total", 0}, {"go_goroutines", 5}, {"process_open_fds", 5},
	{"process_resident_memory_bytes", memoryRoom},
}

// memoryRoom is what a process that has served may keep: pooled buffers, and heap
// that the collector has not given back yet.
const memoryRoom = 48 << 20

// settles waits until every measure is back at its baseline, and returns the final
// values. Unless patient, it leaves out the goroutines, because fasthttp keeps those
// that served connections for another 10 s or more. hands is how many goroutines
// front's crew may keep on top of that.
func (u *usher) settles(base map[string]float64, patient bool, hands float64) (string, error) {
	var off, stand string
	err := eventually("the measures are back at their baseline", func() bool {
		now, err := u.metrics()
		if err != nil {
			off = err.Error()
			return false
		}
		off, stand = "", ""
		for _, b := range baselines {
			switch {
			case rig.RaceEnabled && b.room == memoryRoom:
				continue // the detector's own memory
			case !patient && b.name == "go_goroutines":
				continue
			}
			stand += fmt.Sprintf("\n  %s %.10g, was %.10g", b.name, now[b.name], base[b.name])
			room := b.room
			if b.name == "go_goroutines" {
				room += hands
			}
			if now[b.name] > base[b.name]+room {
				off += fmt.Sprintf(" %s %g, was %g;", b.name, now[b.name], base[b.name])
			}
		}
		return off == ""
	})
	if err != nil {
		return stand, fmt.Errorf("%w:%s", err, off)
	}
	return stand, nil
}

// eventually waits until yes returns true, for at most patience.
func eventually(what string, yes func() bool) error { return within(patience, what, yes) }

func within(limit time.Duration, what string, yes func() bool) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if yes() {
			return nil
		}
	}
	return fmt.Errorf("waited in vain until %s", what)
}
