package session

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A scene is a model server whose streams run until told to stop. It records the order
// in which they broke off and closing calls arrived.
type scene struct {
	*rig.Model
	script *rig.Steps
	events chan string
	hang   chan struct{} // closed: the calls at an end are answered

	mu      sync.Mutex
	streams []net.Conn // on which streams were asked for
	early   int        // closing calls before the connections of all streams were reset
}

func newScene(t *testing.T) *scene {
	c := &scene{script: rig.NewSteps(), events: make(chan string, 1024), hang: make(chan struct{})}
	close(c.hang)
	c.Model = rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/generate_stream":
			c.mu.Lock()
			c.streams = append(c.streams, rig.ConnOf(r))
			c.mu.Unlock()
			c.script.Serve(w, r)
			if r.Context().Err() != nil {
				c.events <- "broken"
			}
		case "/stop":
			c.mu.Lock()
			if !allReset(c.streams) {
				c.early++
			}
			c.mu.Unlock()
			c.events <- "stop"
			select {
			case <-c.hang:
			case <-r.Context().Done():
			}
		}
	})
	return c
}

// allReset reports whether all connections were reset by their peers, according to the
// kernel: on a busy machine the server may notice that later than a request.
func allReset(list []net.Conn) bool {
	for _, c := range list {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			return false
		}
		look := []unix.PollFd{{}}
		err = raw.Control(func(fd uintptr) {
			look[0].Fd = int32(fd)
			_, _ = unix.Poll(look, 0)
		})
		// A connection that was closed here was reset before.
		if err == nil && look[0].Revents&(unix.POLLERR|unix.POLLHUP) == 0 {
			return false
		}
	}
	return true
}

func (c *scene) next(t *testing.T) string {
	t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(rig.Patience):
		require.FailNow(t, "nothing happened")
		return ""
	}
}

const sceneRoutes = "/generate,/generate_stream,/stop"

// A session ends while one of its streams runs and another waits for the only slot:
// both are told, the model server's connection is closed, and only then is the closing
// call made.
func TestSessionEndsInUse(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"ended", "expired"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, c := rig.NewSigner(t), newScene(t)
			u := rig.Start(t, withSessions(c.Model, s, 4).With(rig.Env{"USHER_ROUTES": sceneRoutes, "USHER_MAX_CONCURRENCY": "1"})).Ready()
			lifetime := "60"
			if how == "expired" {
				lifetime = "2" // and two requests that each move it on
			}
			begun := time.Now()
			one := sessionOfUsher(u, s.Ticket(), `{"lifetime":`+lifetime+`,"on_close_route":"/stop","on_close_payload":{"n":1}}`)
			stream := u.Open(t.Context(), "/generate_stream", one.body(`{}`))
			defer func() { _ = stream.Body.Close() }()
			c.script.Events <- "data: 1\n\n"
			waiting := make(chan rig.Answer, 1)
			go func() { waiting <- u.Post("/generate", one.body(`{}`)) }()
			u.WaitMetric("usher_waiting", 1)

			ended, end := make(chan rig.Answer, 1), time.UnixMicro(int64(1e6*(one.opened.Expiration+4)))
			if how == "ended" {
				end = time.Now()
				go func() { ended <- one.ask("end") }()
			}
			text, err := io.ReadAll(stream.Body)
			quick := time.Since(end) < 50*time.Millisecond
			require.Error(t, err, "a cut stream must not end cleanly")
			require.True(t, strings.HasPrefix(string(text), "data: 1\n\n"), string(text))
			if quick || len(text) > len("data: 1\n\n") { // Usher waits no longer for its client
				require.True(t, strings.HasPrefix(string(text), "data: 1\n\ndata: {\"error\":"), string(text))
				require.Contains(t, string(text), "session_unknown")
			}
			require.ElementsMatch(t, []string{"broken", "stop"}, []string{c.next(t), c.next(t)})
			require.Zero(t, c.early, "the closing call must come after the session's requests")
			require.Equal(t, "session_unknown", (<-waiting).Code())
			if how == "ended" {
				require.Equal(t, 200, (<-ended).Status)
			} else {
				require.GreaterOrEqual(t, time.Since(begun), 6*time.Second-50*time.Millisecond)
				require.Less(t, time.Since(begun), rig.Patience/2)
			}
			u.WaitRecord("the stream's line", func(line string) bool {
				return strings.Contains(line, `"outcome":"cut"`) && strings.Contains(line, `"route":"/generate_stream"`)
			})
			u.WaitLine(`"outcome":"session_unknown"`)
			require.Equal(t, []string{`{"n":1}`}, bodies(c.Model, "/stop"))
			require.Len(t, bodies(c.Model, "/generate"), 0)
			require.Equal(t, 200, u.Post("/generate", s.Ticket().Nested(`{}`)).Status, "the slot is free")
			u.WaitMetric("usher_in_flight", 0)
		})
	}
}

// A client that leaves a stream of its session does not end the session. One that does
// not read holds up neither the end nor the closing call.
func TestSessionOfClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	s, c := rig.NewSigner(t), newScene(t)
	u := rig.Start(t, withSessions(c.Model, s, 4).With(rig.Env{"USHER_ROUTES": sceneRoutes})).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/stop"}`)
	conn, err := net.Dial("tcp", u.Public)
	require.NoError(t, err)
	body := string(one.body(`{}`))
	_, err = io.WriteString(conn, "POST /generate_stream HTTP/1.1\r\nHost: x\r\nContent-Length: "+rig.Itoa(len(body))+"\r\n\r\n"+body)
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200")
	_ = conn.Close()
	require.Equal(t, "broken", c.next(t))
	require.Equal(t, `{"ok":true}`, one.ask("health").Body)

	deaf, err := net.Dial("tcp", u.Public)
	require.NoError(t, err)
	defer func() { _ = deaf.Close() }()
	require.NoError(t, deaf.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err = io.WriteString(deaf, "POST /generate_stream HTTP/1.1\r\nHost: x\r\nContent-Length: "+rig.Itoa(len(body))+"\r\n\r\n"+body)
	require.NoError(t, err)
	full := time.After(time.Second)
	event := "data: " + strings.Repeat("x", 64<<10) + "\n\n"
	for stuck := false; !stuck; {
		select {
		case c.script.Events <- event:
		case <-full:
			stuck = true
		case <-time.After(200 * time.Millisecond):
			stuck = true
		}
	}
	begun := time.Now()
	require.Equal(t, 200, one.ask("end").Status)
	require.Less(t, time.Since(begun), 5*time.Second, "the answer waited too long for the closing call")
	require.ElementsMatch(t, []string{"broken", "stop"}, []string{c.next(t), c.next(t)})
	u.WaitMetric("usher_in_flight", 0)
}

// The closing call may hang, break or fail: the answer waits for it no longer than
// clients would, and it is made once.
func TestSessionClosingHangs(t *testing.T) {
	full.Only(t)
	t.Parallel()
	s, c := rig.NewSigner(t), newScene(t)
	c.hang = make(chan struct{})
	u := rig.Start(t, withSessions(c.Model, s, 4).With(rig.Env{"USHER_ROUTES": sceneRoutes})).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/stop"}`)
	begun := time.Now()
	require.Equal(t, 200, one.ask("end").Status)
	require.GreaterOrEqual(t, time.Since(begun), 5*time.Second)
	require.EqualValues(t, 0, u.Metric("usher_sessions"))
	line := u.WaitLine("on_close_route failed")
	require.GreaterOrEqual(t, time.Since(begun), 10*time.Second)
	require.Less(t, time.Since(begun), rig.Patience/2)
	require.NotContains(t, line, one.id)
	require.Len(t, bodies(c.Model, "/stop"), 1)
	require.EqualValues(t, 1, u.Metric(`usher_session_closings_total{outcome="failed"}`))
}

// A drain ends all sessions, idle ones at once and the others when their requests are
// done, and makes the closing call of each before Usher exits.
func TestSessionsDrain(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"let finish", "time-out", "second signal"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, c := rig.NewSigner(t), newScene(t)
			timeout := "10m"
			if how == "time-out" {
				timeout = "2s" // in which a busy machine makes the first call
			}
			u := rig.Start(t, withSessions(c.Model, s, 4).With(rig.Env{"USHER_ROUTES": sceneRoutes, "USHER_DRAIN_TIMEOUT": timeout})).Ready()
			sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/stop","on_close_payload":{"of":"idle"}}`)
			busy := sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/stop","on_close_payload":{"of":"busy"}}`)
			stream := u.Open(t.Context(), "/generate_stream", busy.body(`{}`))
			defer func() { _ = stream.Body.Close() }()
			c.script.Events <- "data: 1\n\n"
			u.Signal(syscall.SIGTERM)
			require.Equal(t, "stop", c.next(t))
			require.Equal(t, []string{`{"of":"idle"}`}, bodies(c.Model, "/stop"))
			want := 1
			switch how {
			case "let finish":
				close(c.script.Events)
				text, err := io.ReadAll(stream.Body)
				require.NoError(t, err)
				require.Equal(t, "data: 1\n\n", string(text))
				want = 0
			case "second signal":
				u.Signal(syscall.SIGTERM)
			}
			require.Equal(t, want, u.Wait())
			if how != "second signal" { // nothing is waited for then
				require.Equal(t, []string{`{"of":"idle"}`, `{"of":"busy"}`}, bodies(c.Model, "/stop"))
			}
		})
	}
}

// A session ends with the process; its ticket stays spent.
func TestSessionAfterKill(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	with := withSessions(m, s, 4).With(rig.Env{"USHER_STATE_FILE": filepath.Join(t.TempDir(), "state")})
	u := rig.Start(t, with).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{}`)
	require.Equal(t, 200, u.Post("/generate", one.body(`{}`)).Status)
	u.Kill()
	u = rig.Start(t, with).Ready()
	require.Equal(t, "session_unknown", u.Post("/generate", one.body(`{}`)).Code())
	require.Equal(t, "reqnum_replayed", u.Post("/generate", one.ticket.Nested(`{}`)).Code())
	require.Equal(t, "reqnum_replayed", u.Post("/session/create", one.ticket.Nested(`{}`)).Code())
}

// The number of a session's ticket counts as arrived: nobody waits for it, and its
// requests wait for nobody.
func TestSessionKeepsOrder(t *testing.T) {
	t.Parallel()
	const hold = rig.Patience / 2
	s := rig.NewSigner(t)
	u := rig.Start(t, withSessions(rig.NewModel(t, nil), s, 4).With(rig.Env{"USHER_REORDER_HOLD": hold.String(), "USHER_REORDER_MAX_HOLD": hold.String()})).Ready()
	begun := time.Now()
	post := func(reqnum int64) { require.Equal(t, 200, u.Post("/generate", s.Numbered(reqnum).Nested(`{}`)).Status) }
	post(1)
	one := sessionOfUsher(u, s.Numbered(2), `{}`)
	post(3)
	ahead := sessionOfUsher(u, s.Numbered(5), `{}`) // 4 is missing
	require.Equal(t, 200, u.Post("/generate", ahead.body(`{}`)).Status)
	post(4)
	post(6)
	require.Equal(t, 200, u.Post("/generate", one.body(`{}`)).Status)
	require.EqualValues(t, 0, u.Metric("usher_held_total"))
	require.EqualValues(t, 0, u.Metric("usher_reordered_total"))
	require.Less(t, time.Since(begun), hold)
}

// For the autoscaler a session is one request with its cost for as long as it lives;
// the requests in it do not count.
func TestSessionReports(t *testing.T) {
	t.Parallel()
	s, a, m := rig.NewSigner(t), rig.NewScaler(t, nil), rig.NewModel(t, nil)
	u := rig.Start(t, rig.Reporting(m, s, a.URL).With(rig.Env{"USHER_MAX_SESSIONS": "2"})).Ready()
	one := sessionOfUsher(u, s.Indexed("100.5", "41"), `{}`)
	two := sessionOfUsher(u, s.Indexed("20.0", "42"), `{"lifetime":3}`)
	require.Equal(t, "queue_full", u.Post("/session/create", s.Indexed("7.0", "43").Nested(`{}`)).Code())
	for range 5 {
		require.Equal(t, 200, u.Post("/generate", one.body(`{}`)).Status)
	}
	a.WaitReport(t, "both are in work", func(r map[string]any) bool {
		return r["cur_load"] == 120.5 && r["num_requests_working"] == 2.0 && r["num_requests_recieved"] == 3.0
	})
	named := func(index float64) map[string]any {
		var found map[string]any
		require.Eventually(t, func() bool {
			i := slices.IndexFunc(a.Ends(), func(e map[string]any) bool { return e["request_idx"] == index })
			if i >= 0 {
				found = a.Ends()[i]
			}
			return i >= 0
		}, rig.Patience, 5*time.Millisecond)
		return found
	}
	expired := named(42)
	require.Equal(t, "Success", expired["status"])
	require.Equal(t, true, expired["success"])
	require.InDelta(t, expired["work_started_at"], expired["entered_queue_at"], 2, "when it was opened")
	lived := expired["work_completed_at"].(float64) - expired["work_started_at"].(float64)
	require.GreaterOrEqual(t, lived, 2.9)
	require.Less(t, lived, (rig.Patience / 2).Seconds())
	require.Equal(t, "session_unknown", u.Post("/generate", two.body(`{}`)).Code())
	require.Equal(t, "Rejected", named(43)["status"])
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
	require.Equal(t, "Success", named(41)["status"])
	require.Len(t, a.Ends(), 3)
	require.InDelta(t, 120.5, a.Sum("new_load"), 1e-6)
	require.InDelta(t, 7, a.Sum("rej_load"), 1e-6)
	require.InDelta(t, 120.5, a.Sum("cur_perf"), 1e-6)
}

// Operators see how many sessions there are, their age and requests, and nothing that
// would let them use one.
func TestSessionsOnTheStatusPage(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, withSessions(rig.NewModel(t, nil), s, 4)).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{}`)
	require.Equal(t, 200, u.Post("/generate", one.body(`{}`)).Status)
	var text string
	require.Eventually(t, func() bool {
		_, text = u.Get("/")
		return strings.Contains(text, "1 request, 0 in flight")
	}, rig.Patience, time.Millisecond)
	require.Contains(t, text, "1 of 4 open, 1 request in sessions since the start")
	status, page := u.Get("/status.json")
	require.Equal(t, 200, status)
	var snapshot struct {
		Sessions struct {
			Open, Most int
			Oldest     []map[string]float64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(page), &snapshot))
	require.Equal(t, 1, snapshot.Sessions.Open)
	require.Len(t, snapshot.Sessions.Oldest, 1)
	for _, secret := range []string{one.id, strings.Trim(one.ticket["signature"], `"`)} {
		_, metrics := u.Get("/metrics")
		for _, seen := range []string{text, page, metrics, strings.Join(u.Log(), "\n")} {
			require.NotContains(t, seen, secret)
		}
	}
}
