package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/loopback"
)

// soakStep is the time between two samples. soakSettles is how long Usher has to give
// back what the load took after the load has ended: fasthttp keeps goroutines for
// another ten seconds or more.
const (
	soakStep    = 10 * time.Second
	soakSettles = 30 * time.Second
)

// A sample has figures of one moment, or of the time since the last sample.
type sample struct {
	second      float64
	resident    float64 // MB
	live        float64 // MB of heap that were alive after the last collection
	descriptors float64
	goroutines  float64
	cpu         float64 // ms a second
	waited      float64 // ms a second that threads waited for a processor, added up
	collections float64
	pause       [2]float64 // ms, the longest: of Usher and of the load
	median, p99 [2]float64 // ms, of a request: through Usher and direct
	token       [2]float64 // ms, p99 of an event's delay
}

// A soaking is the state of a soak.
type soaking struct {
	bench   *bench
	usher   *process
	admin   string
	profile string
	load    *soakLoad

	began   time.Time
	cpu     time.Duration
	waited  time.Duration
	numGC   int
	ownGC   int64
	pauses  []float64 // ms, of every collection
	own     []float64 // the same of the load
	samples []sample

	sent, left int
	failed     []string
}

// soak runs a steady load through Usher for d, with requests directly to the model
// server as a control, and reports whether Usher stayed as it was.
func (b *bench) soak(d time.Duration, write bool) error {
	s, err := b.newSoaking()
	if err != nil {
		return err
	}
	defer s.usher.stop()
	before, err := s.sample()
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var loading sync.WaitGroup
	loading.Go(func() { s.load.run(stop) })
	s.began = time.Now()
	for next := soakStep; next <= d && err == nil; next += soakStep {
		time.Sleep(time.Until(s.began.Add(next)))
		var now sample
		if now, err = s.sample(); err == nil {
			s.samples = append(s.samples, now)
			b.progress("%s", now)
		}
	}
	close(stop)
	loading.Wait()
	if err != nil {
		return err
	}
	time.Sleep(soakSettles)
	after, err := s.sample()
	if err != nil {
		return err
	}
	said, err := s.said()
	if err != nil {
		return err
	}
	report := s.report(before, after, said)
	fmt.Println(report)
	if write {
		err = errors.Join(replaceSection("docs/reliability.md", "soak", machine()+"\n"+report),
			os.WriteFile("docs/soak.tsv", []byte(tsvOf(s.samples)), 0o644))
	}
	if len(s.failed) > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed, for example: %s", len(s.failed), strings.Join(s.failed[:min(len(s.failed), 3)], "; ")))
	}
	return err
}

// newSoaking starts Usher, with a state file and a log.
func (b *bench) newSoaking() (*soaking, error) {
	key, err := autoscaler.NewEd25519Key()
	if err != nil {
		return nil, err
	}
	public := b.path("soak.pem")
	if err := os.WriteFile(public, []byte(key.PEM()), 0o644); err != nil {
		return nil, err
	}
	s := &soaking{bench: b}
	for _, at := range []*string{&s.admin, &s.profile} {
		if *at, err = loopback.Address(); err != nil {
			return nil, err
		}
	}
	addr, p, err := b.launch(b.targets[0], options{env: []string{
		"USHER_PUBLIC_KEY_FILE=" + public, "USHER_STATE_FILE=" + b.path("soak.state"), "USHER_MAX_CONCURRENCY=128",
		"USHER_ADMIN_ADDR=" + s.admin, "USHER_PPROF_ADDR=" + s.profile,
	}})
	if err != nil {
		return nil, err
	}
	s.usher, s.began = p, time.Now()
	s.load = newSoakLoad(addr, b.modelAt, key)
	return s, nil
}

// sample takes the figures of Usher and those that the clients have collected.
func (s *soaking) sample() (sample, error) {
	pid := s.usher.cmd.Process.Pid
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return sample{}, err
	}
	goroutines, err := s.goroutines()
	if err != nil {
		return sample{}, err
	}
	collections, longest, live, err := s.collections()
	if err != nil {
		return sample{}, err
	}
	cpu, waited := s.usher.scheduled()
	t := s.load.take()
	now := sample{
		second: time.Since(s.began).Round(time.Second).Seconds(), resident: float64(s.usher.resident()) / (1 << 20), live: live / (1 << 20),
		descriptors: float64(len(descriptors)), goroutines: goroutines, collections: float64(collections), pause: [2]float64{longest, s.ownCollections()},
		cpu: milliseconds(cpu-s.cpu) / soakStep.Seconds(), waited: milliseconds(waited-s.waited) / soakStep.Seconds(),
	}
	s.cpu, s.waited = cpu, waited
	for to := range t.latency {
		now.median[to], now.p99[to] = quantile(t.latency[to], 0.5)/1e6, quantile(t.latency[to], 0.99)/1e6
		now.token[to] = quantile(t.delays[to], 0.99) / 1e6
	}
	s.sent, s.left, s.failed = s.sent+t.sent, s.left+t.left, append(s.failed, t.failed...)
	return now, nil
}

func fetch(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(text), err
}

func (s *soaking) goroutines() (float64, error) {
	text, err := fetch("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("/metrics has no go_goroutines")
}

// collections reads the runtime's list of the last 256 garbage collections, which is
// at the end of a heap profile. It returns how many there were since the last call,
// the longest pause in ms, and the bytes that were alive after the last collection.
// The next one comes when the heap is twice as large.
func (s *soaking) collections() (count int, longest, live float64, err error) {
	text, err := fetch("http://" + s.profile + "/debug/pprof/heap?debug=1")
	if err != nil {
		return 0, 0, 0, err
	}
	said := func(name string) string {
		_, rest, _ := strings.Cut(text, "\n# "+name+" = ")
		value, _, _ := strings.Cut(rest, "\n")
		return strings.Trim(value, "[]")
	}
	pauses := strings.Fields(said("PauseNs"))
	last, err := strconv.Atoi(said("NumGC"))
	next, nerr := strconv.ParseFloat(said("NextGC"), 64)
	if err = errors.Join(err, nerr); err != nil || len(pauses) == 0 {
		return 0, 0, 0, fmt.Errorf("what the heap profile tells of collections: %w", err)
	}
	count = last - s.numGC
	for n := last - min(count, len(pauses)); n < last; n++ {
		ns, err := strconv.ParseFloat(pauses[n%len(pauses)], 64)
		if err != nil {
			return 0, 0, 0, err
		}
		s.pauses = append(s.pauses, ns/1e6)
		longest = max(longest, ns/1e6)
	}
	s.numGC = last
	return count, longest, next / 2, nil
}

// ownCollections returns the longest pause of the load's process, which runs at the
// same priority: how long a collection stops a process depends on whether its threads
// get a processor.
func (s *soaking) ownCollections() (longest float64) {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	for _, p := range stats.Pause[:min(stats.NumGC-s.ownGC, int64(len(stats.Pause)))] {
		s.own = append(s.own, milliseconds(p))
		longest = max(longest, milliseconds(p))
	}
	s.ownGC = stats.NumGC
	return longest
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// said returns the lines of Usher's log that are not of level info.
func (s *soaking) said() (lines []string, err error) {
	file, err := os.Open(s.bench.path("usher.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	log := bufio.NewScanner(file)
	log.Buffer(nil, 1<<20)
	for log.Scan() {
		if !strings.Contains(log.Text(), `"level":"info"`) {
			lines = append(lines, log.Text())
		}
	}
	return lines, log.Err()
}

// replaceSection replaces the text between two marks in a document.
func replaceSection(path, name, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	open, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok := strings.Cut(string(old), open)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no place for %s", filepath.Base(path), name)
	}
	return os.WriteFile(path, []byte(before+open+text+end+after), 0o644)
}
