//go:build unix

package life

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
	"github.com/usher-sidecar/usher/test/rig"
)

// startRead runs the binary with a log reader that the test can stop or remove, and
// waits until it is ready.
func startRead(t *testing.T, settings rig.Env) (*rig.Usher, *logreader.Reader) {
	t.Helper()
	r, stderr, err := logreader.New(t.TempDir())
	require.NoError(t, err)
	u := &rig.Usher{T: t, Cmd: exec.Command(rig.Binary), News: make(chan struct{}), Exited: make(chan struct{})}
	u.Cmd.Env = rig.Env{
		"USHER_LISTEN_ADDR": "127.0.0.1:0", "USHER_ADMIN_ADDR": "127.0.0.1:0",
		"USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "50ms",
	}.With(settings).List()
	u.Cmd.Stderr = stderr
	require.NoError(t, u.Cmd.Start())
	require.NoError(t, stderr.Close())
	read := make(chan struct{})
	go func() {
		defer close(read)
		u.Gather(r)
	}()
	go func() {
		_ = u.Cmd.Wait()
		u.Status = u.Cmd.ProcessState.ExitCode()
		close(u.Exited)
	}()
	t.Cleanup(func() {
		u.Kill()
		require.NoError(t, r.Return())
		r.Continue()
		<-read
		r.Leave()
	})
	var said struct{ Public, Admin string }
	require.NoError(t, json.Unmarshal([]byte(u.WaitLine(`"msg":"listening"`)), &said))
	u.Public, u.Admin = said.Public, said.Admin
	return u.Ready(), r
}

// A log that nobody reads does not hold up requests, probes, drains or signals.
func TestLogThatNobodyReads(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u, r := startRead(t, rig.Settings(m, s).With(rig.Env{"USHER_HEALTH_FAILURES": "1"}))
	require.NoError(t, r.Stop())

	kept := rig.Dial(t, u.Public)
	for _, tt := range []struct {
		path   string
		ticket rig.Ticket
		status int
	}{
		{"/generate", s.Ticket(), 200}, {"/generate", s.Ticket(), 200},
		{"/generate", other.Numbered(100), 401}, {"/generate", s.Ticket(), 200}, {"/nowhere", s.Ticket(), 404},
	} {
		kept.Request("POST", tt.path, tt.ticket.Flat(""))
		resp, err := http.ReadResponse(kept.In, nil)
		require.NoError(t, err, tt.path)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.Equal(t, tt.status, resp.StatusCode, tt.path)
	}

	for _, is := range []bool{true, false} {
		m.Sick.Store(is)
		require.Eventually(t, func() bool {
			status, _ := u.Get("/readyz")
			return (status == 503) == is
		}, rig.Patience, 5*time.Millisecond, "the prober goes on; sick: %v", is)
	}
	u.Signal(syscall.SIGHUP)

	resp, err := (&http.Client{Timeout: rig.Patience}).Post("http://"+u.Admin+"/drain", "", nil)
	require.NoError(t, err)
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.JSONEq(t, `{"drained":true,"cut":false}`, string(said))

	began := time.Now()
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
	require.Less(t, time.Since(began), rig.Patience/2, "usher must give up on its log after about a second")
}

// Nor does it keep a process that cannot start from ending.
func TestWrongSettingWithALogThatNobodyReads(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*logreader.Reader) error{
		"stopped": (*logreader.Reader).Stop,
		"gone":    func(r *logreader.Reader) error { r.Leave(); return nil },
	} {
		r, stderr, err := logreader.New(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, prepare(r))
		ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, rig.Binary)
		cmd.Env, cmd.Stderr = rig.Env{"USHER_LISTEN_ADDR": "nowhere"}.List(), stderr
		require.Error(t, cmd.Run())
		require.Equal(t, 2, cmd.ProcessState.ExitCode(), name)
		require.NoError(t, stderr.Close())
		r.Leave()
	}
}

// A second signal cuts even while nobody reads the log.
func TestSecondSignalWithALogThatNobodyReads(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u, r := startRead(t, rig.Settings(rig.NewModel(t, script.Serve), s).With(rig.Env{"USHER_DRAIN_DELAY": "1h", "USHER_DRAIN_TIMEOUT": "1h"}))
	stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = stream.Body.Close() }()
	require.NoError(t, r.Stop())
	u.Signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { status, _ := u.Get("/readyz"); return status == 503 }, rig.Patience, 5*time.Millisecond)
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 1, u.Wait())
}

// A log reader that goes away in the middle of a stream disturbs nothing, and the next
// one finds the lines written in the meantime.
func TestLogReaderThatLeaves(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u, r := startRead(t, rig.Settings(rig.NewModel(t, script.Serve), s))
	stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = stream.Body.Close() }()
	events := bufio.NewReader(stream.Body)
	event := func() {
		select {
		case script.Events <- "data: 1\n\n":
		case <-u.Exited:
			require.FailNow(t, "usher ended", "%v", u.Cmd.ProcessState)
		}
		got, err := events.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "data: 1\n", got)
		_, err = events.ReadString('\n')
		require.NoError(t, err)
	}
	event()
	r.Leave()
	missed := u.Post("/nowhere", s.Ticket().Flat(""))
	require.Equal(t, 404, missed.Status)
	event()
	time.Sleep(100 * time.Millisecond) // a line is written 30 ms after it came; nothing tells of a write that fails
	event()
	close(script.Events)
	_, err := io.ReadAll(events)
	require.NoError(t, err)

	require.NoError(t, r.Return())
	u.WaitLine(missed.Header.Get("X-Request-Id"))
	u.WaitLine(stream.Header.Get("X-Request-Id"))
	require.Zero(t, leftOut(u, "route_unknown"))
	r.Leave()
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
}

func leftOut(u *rig.Usher, outcome string) float64 {
	u.T.Helper()
	return u.Metric(`usher_log_lines_left_out_total{outcome="` + outcome + `"}`)
}

// Lines that do not fit are counted by outcome, and when the log is read again one
// line says how many there were.
func TestLogReaderThatReturns(t *testing.T) {
	t.Parallel()
	const clients, each = 4, 2500
	s, m := rig.NewEd25519Signer(t), rig.NewModel(t, nil)
	endpoint := strings.Repeat("e", 64) // long lines
	u, r := startRead(t, rig.Settings(m, s).With(rig.Env{"USHER_ENDPOINT": endpoint}))
	m.Close() // a ticket that is not sent stays good, and each of its requests has a line
	require.NoError(t, r.Stop())
	var running sync.WaitGroup
	for client := range clients {
		body := string(s.Signed(rig.Ticket{"cost": "1.0", "endpoint": rig.Quote(endpoint), "reqnum": rig.Itoa(client), "url": rig.Quote(rig.URL)},
			"cost", "endpoint", "reqnum", "url").Flat(""))
		request := "POST /generate HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + strings.Repeat("i", 128) +
			"\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + body
		c := rig.Dial(t, u.Public)
		running.Go(func() { _, _ = io.WriteString(c, strings.Repeat(request, each)) })
		running.Go(func() {
			for range each {
				_ = c.SetDeadline(time.Now().Add(rig.Patience)) // for each of so many
				resp, err := http.ReadResponse(c.In, nil)
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
	left := leftOut(u, "upstream_unreachable")
	require.Positive(t, left)

	r.Continue()
	var said struct {
		LeftOut  float64 `json:"left_out"`
		Outcomes map[string]float64
	}
	require.NoError(t, json.Unmarshal([]byte(u.WaitLine("log lines left out")), &said))
	sum := 0.0
	for outcome, n := range said.Outcomes {
		require.Equal(t, leftOut(u, outcome), n, outcome)
		sum += n
	}
	require.Equal(t, sum, said.LeftOut)
	require.Equal(t, left, said.Outcomes["upstream_unreachable"])
	last := u.Post("/nowhere", []byte("{}"))
	u.WaitLine(last.Header.Get("X-Request-Id"))
	lines, reports := 0.0, 0
	for _, line := range u.Log() {
		switch {
		case strings.Contains(line, "log lines left out"):
			reports++
		case strings.Contains(line, `"outcome":"upstream_unreachable"`):
			lines++
		}
	}
	require.Equal(t, 1, reports)
	require.Equal(t, u.Metric(`usher_requests_total{outcome="upstream_unreachable",route="/generate"}`), lines+left)
}

// Subcommands end like any filter when nobody reads their output.
func TestSubcommandsEndWithTheirReader(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"settings", "man", "help", "version"} {
		out, in, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, out.Close())
		cmd := exec.Command(rig.Binary, command)
		cmd.Stdout = in
		require.Error(t, cmd.Run(), command)
		require.NoError(t, in.Close())
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, status.Signaled(), command)
		require.Equal(t, syscall.SIGPIPE, status.Signal(), command)
	}
}
