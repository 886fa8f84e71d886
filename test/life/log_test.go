package life

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Each request has one line, with the ID that its answer carries and its trace.
func TestLineOfARequest(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, path := range []string{"/generate", "/nowhere"} {
		got := u.Do("POST", path, s.Ticket().Flat(""), http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
		id := got.Header.Get("X-Request-Id")
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(u.WaitLine(`"request_id":"`+id+`"`)), &line))
		require.Equal(t, trace, line["trace_id"])
		require.EqualValues(t, got.Status, line["status"])
	}
	untraced := u.Post("/generate", s.Ticket().Flat("")).Header.Get("X-Request-Id")
	require.NotContains(t, u.WaitLine(`"request_id":"`+untraced+`"`), "trace_id")
}

// A client cannot fill the log with what it writes into a ticket.
func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	long := strings.Repeat("n", 1<<20)
	got := u.Post("/generate", s.Ticket().With("endpoint", rig.Quote(long)).Flat(""))
	require.Equal(t, "endpoint_mismatch", got.Code())
	require.Less(t, len(u.WaitLine(`"request_id":"`+got.Header.Get("X-Request-Id")+`"`)), 1000)
}

// A flood of refusals is sampled, which the log says, and counted; requests that got
// their turn are always logged.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	const flood = 1500
	request := "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	u.Raw(strings.Repeat(request, flood-1)+strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), rig.Patience)
	good := u.Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, 200, good.Status)
	u.WaitLine(`"request_id":"` + good.Header.Get("X-Request-Id") + `"`)
	require.EqualValues(t, flood, u.Metric(`usher_requests_total{outcome="route_unknown",route="other"}`))
	left := u.Metric(`usher_log_lines_left_out_total{outcome="route_unknown"}`)
	require.Positive(t, left)
	u.Signal(syscall.SIGTERM) // what is not reported yet is reported at the end
	require.Equal(t, 0, u.Wait())
	reported, refused := 0.0, 0
	for _, l := range u.Log() {
		if strings.Contains(l, "request lines left out") {
			var line struct {
				LeftOut float64 `json:"left_out"`
			}
			require.NoError(t, json.Unmarshal([]byte(l), &line))
			reported += line.LeftOut
		}
		if strings.Contains(l, `"outcome":"route_unknown"`) && strings.Contains(l, `"msg":"request"`) {
			refused++
		}
	}
	require.Equal(t, left, reported)
	require.EqualValues(t, flood, float64(refused)+left)
}
