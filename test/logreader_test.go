//go:build unix

package test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/logreader"
)

// startRead runs the binary with a log reader that the test can stop and send
// away, and waits until it is ready.
func startRead(t *testing.T, settings env) (*usher, *logreader.Reader) {
	t.Helper()
	r, stderr, err := logreader.New(t.TempDir())
	require.NoError(t, err)
	u := &usher{t: t, cmd: exec.Command(binary), news: make(chan struct{}), exited: make(chan struct{})}
	u.cmd.Env = env{
		"USHER_LISTEN_ADDR": "127.0.0.1:0", "USHER_ADMIN_ADDR": "127.0.0.1:0",
		"USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "50ms",
	}.with(settings).list()
	u.cmd.Stderr = stderr
	require.NoError(t, u.cmd.Start())
	require.NoError(t, stderr.Close())
	read := make(chan struct{})
	go func() {
		defer close(read)
		u.gather(r)
	}()
	go func() {
		_ = u.cmd.Wait()
		u.status = u.cmd.ProcessState.ExitCode()
		close(u.exited)
	}()
	t.Cleanup(func() {
		u.kill()
		require.NoError(t, r.Return())
		r.Continue()
		<-read
		r.Leave()
	})
	var said struct{ Public, Admin string }
	require.NoError(t, json.Unmarshal([]byte(u.waitLine(`"msg":"listening"`)), &said))
	u.public, u.admin = said.Public, said.Admin
	return u.ready(), r
}

// A log that nobody reads holds up no request, no probe, no drain and no signal.
func TestLogThatNobodyReads(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	m := newModel(t, nil)
	u, r := startRead(t, settings(m, s).with(env{"USHER_HEALTH_FAILURES": "1"}))
	require.NoError(t, r.Stop())

	kept := dial(t, u.public)
	for _, tt := range []struct {
		path   string
		ticket ticket
		status int
	}{
		{"/generate", s.ticket(), 200}, {"/generate", s.ticket(), 200},
		{"/generate", other.numbered(100), 401}, {"/generate", s.ticket(), 200}, {"/nowhere", s.ticket(), 404},
	} {
		kept.request("POST", tt.path, tt.ticket.flat(""))
		resp, err := http.ReadResponse(kept.in, nil)
		require.NoError(t, err, tt.path)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.Equal(t, tt.status, resp.StatusCode, tt.path)
	}

	for _, is := range []bool{true, false} {
		m.sick.Store(is)
		require.Eventually(t, func() bool {
			status, _ := u.get("/readyz")
			return (status == 503) == is
		}, patience, 5*time.Millisecond, "the prober goes on; sick: %v", is)
	}
	u.signal(syscall.SIGHUP)

	resp, err := (&http.Client{Timeout: patience}).Post("http://"+u.admin+"/drain", "", nil)
	require.NoError(t, err)
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.JSONEq(t, `{"drained":true,"cut":false}`, string(said))

	began := time.Now()
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
	require.Less(t, time.Since(began), patience/2, "a second is spent on the rest")
}

// Nor does it hold up the end of one that cannot start.
func TestWrongSettingWithALogThatNobodyReads(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*logreader.Reader) error{
		"stopped": (*logreader.Reader).Stop,
		"gone":    func(r *logreader.Reader) error { r.Leave(); return nil },
	} {
		r, stderr, err := logreader.New(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, prepare(r))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary)
		cmd.Env, cmd.Stderr = env{"USHER_LISTEN_ADDR": "nowhere"}.list(), stderr
		require.Error(t, cmd.Run())
		require.Equal(t, 2, cmd.ProcessState.ExitCode(), name)
		require.NoError(t, stderr.Close())
		r.Leave()
	}
}

// A second signal cuts, also while nobody reads.
func TestSecondSignalWithALogThatNobodyReads(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u, r := startRead(t, settings(newModel(t, script.serve), s).with(env{"USHER_DRAIN_DELAY": "1h", "USHER_DRAIN_TIMEOUT": "1h"}))
	stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = stream.Body.Close() }()
	require.NoError(t, r.Stop())
	u.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { status, _ := u.get("/readyz"); return status == 503 }, patience, 5*time.Millisecond)
	u.signal(syscall.SIGTERM)
	require.Equal(t, 1, u.wait())
}

// A reader that goes away in the middle of a stream takes nothing along, and one
// that comes finds the lines that were written meanwhile.
func TestLogReaderThatGoes(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u, r := startRead(t, settings(newModel(t, script.serve), s))
	stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = stream.Body.Close() }()
	events := bufio.NewReader(stream.Body)
	event := func() {
		select {
		case script.send <- "data: 1\n\n":
		case <-u.exited:
			require.FailNow(t, "usher ended", "%v", u.cmd.ProcessState)
		}
		got, err := events.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "data: 1\n", got)
		_, err = events.ReadString('\n')
		require.NoError(t, err)
	}
	event()
	r.Leave()
	missed := u.post("/nowhere", s.ticket().flat(""))
	require.Equal(t, 404, missed.status)
	event()
	time.Sleep(50 * time.Millisecond) // a line is written 10 ms after it came; nothing tells of a write that fails
	event()
	close(script.send)
	_, err := io.ReadAll(events)
	require.NoError(t, err)

	require.NoError(t, r.Return())
	u.waitLine(missed.header.Get("X-Request-Id"))
	u.waitLine(stream.Header.Get("X-Request-Id"))
	require.Zero(t, u.leftOut("route_unknown"))
	r.Leave()
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
}

func (u *usher) leftOut(outcome string) float64 {
	u.t.Helper()
	return u.metric(`usher_log_lines_left_out_total{outcome="` + outcome + `"}`)
}

// What does not fit is counted by outcome, and when the log is read again one
// line says how many it was.
func TestLogReaderThatReturns(t *testing.T) {
	t.Parallel()
	const clients, each = 4, 2500
	s, m := newEd25519Signer(t), newModel(t, nil)
	endpoint := strings.Repeat("e", 64) // long lines
	u, r := startRead(t, settings(m, s).with(env{"USHER_ENDPOINT": endpoint}))
	m.Close() // a ticket that is not sent stays good, and each of its requests has a line
	require.NoError(t, r.Stop())
	var running sync.WaitGroup
	for client := range clients {
		body := string(s.signed(ticket{"cost": "1.0", "endpoint": quote(endpoint), "reqnum": itoa(client), "url": quote(testURL)},
			"cost", "endpoint", "reqnum", "url").flat(""))
		request := "POST /generate HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + strings.Repeat("i", 128) +
			"\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
		c := dial(t, u.public)
		running.Go(func() { _, _ = io.WriteString(c, strings.Repeat(request, each)) })
		running.Go(func() {
			for range each {
				resp, err := http.ReadResponse(c.in, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err != nil || resp.StatusCode != 502 {
					t.Error("no answer: ", err, resp)
					return
				}
			}
		})
	}
	running.Wait()
	left := u.leftOut("upstream_unreachable")
	require.Positive(t, left)

	r.Continue()
	var said struct {
		LeftOut  float64 `json:"left_out"`
		Outcomes map[string]float64
	}
	require.NoError(t, json.Unmarshal([]byte(u.waitLine("log lines left out")), &said))
	sum := 0.0
	for outcome, n := range said.Outcomes {
		require.Equal(t, u.leftOut(outcome), n, outcome)
		sum += n
	}
	require.Equal(t, sum, said.LeftOut)
	require.Equal(t, left, said.Outcomes["upstream_unreachable"])
	last := u.post("/nowhere", []byte("{}"))
	u.waitLine(last.header.Get("X-Request-Id"))
	lines, reports := 0.0, 0
	for _, line := range u.log() {
		switch {
		case strings.Contains(line, "log lines left out"):
			reports++
		case strings.Contains(line, `"outcome":"upstream_unreachable"`):
			lines++
		}
	}
	require.Equal(t, 1, reports)
	require.Equal(t, u.metric(`usher_requests_total{outcome="upstream_unreachable",route="/generate"}`), lines+left)
}

// Sub-commands end as every filter does when nobody reads on.
func TestSubcommandsEndWithTheirReader(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"settings", "man", "help", "version"} {
		out, in, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, out.Close())
		cmd := exec.Command(binary, command)
		cmd.Stdout = in
		require.Error(t, cmd.Run(), command)
		require.NoError(t, in.Close())
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, status.Signaled(), command)
		require.Equal(t, syscall.SIGPIPE, status.Signal(), command)
	}
}
