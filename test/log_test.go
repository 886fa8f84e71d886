package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// One line a request, with the id that its answer carries and the trace it
// belongs to.
func TestLineOfARequest(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, path := range []string{"/generate", "/nowhere"} {
		got := u.do("POST", path, s.ticket().flat(""), http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
		id := got.header.Get("X-Request-Id")
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(u.waitLine(`"request_id":"`+id+`"`)), &line))
		require.Equal(t, trace, line["trace_id"])
		require.EqualValues(t, got.status, line["status"])
	}
	untraced := u.post("/generate", s.ticket().flat("")).header.Get("X-Request-Id")
	require.NotContains(t, u.waitLine(`"request_id":"`+untraced+`"`), "trace_id")
}

// What a client writes into a ticket does not fill the log.
func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	long := strings.Repeat("n", 1<<20)
	got := u.post("/generate", s.ticket().with("endpoint", quote(long)).flat(""))
	require.Equal(t, "endpoint_mismatch", got.code())
	require.Less(t, len(u.waitLine(`"request_id":"`+got.header.Get("X-Request-Id")+`"`)), 1000)
}

// A flood of refusals is sampled, said in the log and counted; what got its
// turn is always there.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	const flood = 1500
	request := "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	u.raw(strings.Repeat(request, flood-1)+strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), patience)
	good := u.post("/generate", s.ticket().flat(""))
	require.Equal(t, 200, good.status)
	u.waitLine(`"request_id":"` + good.header.Get("X-Request-Id") + `"`)
	require.EqualValues(t, flood, u.metric(`usher_requests_total{outcome="route_unknown",route="other"}`))
	left := u.metric(`usher_log_lines_left_out_total{outcome="route_unknown"}`)
	require.Positive(t, left)
	u.signal(syscall.SIGTERM) // what is not reported yet is reported at the end
	require.Equal(t, 0, u.wait())
	var line struct {
		LeftOut float64 `json:"left_out"`
	}
	require.NoError(t, json.Unmarshal([]byte(u.waitLine("request lines left out")), &line))
	require.Equal(t, left, line.LeftOut)
	refused := 0
	for _, l := range u.log() {
		if strings.Contains(l, `"outcome":"route_unknown"`) && strings.Contains(l, `"msg":"request"`) {
			refused++
		}
	}
	require.EqualValues(t, flood, float64(refused)+left)
}
