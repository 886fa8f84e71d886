package autoscaler_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// reported returns an autoscaler whose two workers report to it.
func reported(t *testing.T, silence time.Duration) (a *autoscaler.Autoscaler, say func(path, body string) int) {
	t.Helper()
	a, err := autoscaler.Start(autoscaler.Options{
		Endpoint: "toys", Workers: []string{"http://fast", "http://slow"}, MasterToken: "secret", Silence: silence, Key: rsaKey(t),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		a.Close()
	})
	return a, func(path, body string) int {
		resp, err := http.Post(a.URL()+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode
	}
}

func state(worker string, loadtime, maxPerf, load float64, problem string) string {
	return fmt.Sprintf(`{"id":1,"mtoken":"secret","loadtime":%g,"cur_load":%g,"max_perf":%g,"error_msg":%q,"url":"http://%s","working_request_idxs":[]}`,
		loadtime, load, maxPerf, problem, worker)
}

func TestRouteGoesByReports(t *testing.T) {
	a, say := reported(t, 0)
	breakdown := func(want string) {
		t.Helper()
		status, text := route(t, a, order)
		require.Equal(t, 200, status)
		require.Equal(t, `{"endpoint": "toys", "status": {`+want+`}}`, text)
	}
	breakdown(`"ready": 0, "loading": 0, "error": 0, "silent": 2`)
	require.Equal(t, 200, say("/worker_status/", state("fast", 0, 0, 0, "")))
	breakdown(`"ready": 0, "loading": 1, "error": 0, "silent": 1`)
	require.Equal(t, 200, say("/worker_status/", state("slow", 3, 100, 0, "draining")))
	breakdown(`"ready": 0, "loading": 1, "error": 1, "silent": 0`)
	require.Zero(t, a.Ready())

	require.Equal(t, 200, say("/worker_status/", state("fast", 9, 300, 0, "")))
	require.Equal(t, 200, say("/worker_status/", state("slow", 9, 100, 0, "")))
	require.Equal(t, 2, a.Ready())
	chosen := map[string]int{}
	for range 40 {
		_, text := route(t, a, order)
		var ticket struct{ URL string }
		require.NoError(t, json.Unmarshal([]byte(text), &ticket))
		chosen[ticket.URL]++
	}
	require.InDelta(t, 30, chosen["http://fast"], 1, "a worker three times as fast must get three times as many")
	require.Equal(t, 200, say("/worker_status/", state("fast", 9, 300, 1e6, "")))
	require.Equal(t, 200, say("/worker_status/", state("slow", 9, 100, 0, "")))
	_, text := route(t, a, order)
	require.Contains(t, text, `"url": "http://slow"`, "the worker without an hour of work must be chosen")
}

func TestSilentWorkersAreForgotten(t *testing.T) {
	a, say := reported(t, 50*time.Millisecond)
	require.Equal(t, 200, say("/worker_status/", state("fast", 9, 300, 0, "")))
	require.Eventually(t, func() bool { return a.Ready() == 0 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		require.Equal(t, 200, say("/worker_status/", state("fast", 9, 300, 0, "")))
		_, text := route(t, a, order)
		return strings.Contains(text, `"url": "http://fast"`)
	}, 10*time.Second, time.Millisecond)
}

func TestReportsAreLookedAt(t *testing.T) {
	a, say := reported(t, 0)
	require.Equal(t, 401, say("/worker_status/", strings.Replace(state("fast", 1, 1, 0, ""), "secret", "guess", 1)))
	require.Equal(t, 404, say("/worker_status/", state("elsewhere", 1, 1, 0, "")))
	require.Equal(t, 400, say("/worker_status/", `{"id":1,"mtoken":"secret"}`))
	require.Equal(t, 400, say("/worker_status/", `no`))
	require.Equal(t, 401, say("/delete_requests/", `{"worker_id":1,"mtoken":"guess","requests":[]}`))
	require.Equal(t, 400, say("/delete_requests/", `{"worker_id":1,"mtoken":"secret","requests":[{"status":"Success"}]}`))
	require.Equal(t, 200, say("/delete_requests/", `{"worker_id":1,"mtoken":"secret","requests":[{"request_idx":7,"status":"Success"},{"request_idx":8,"status":"Error"}]}`))
	require.Equal(t, autoscaler.Reports{Ended: map[string]int{"Success": 1, "Error": 1}}, a.Reports())
}

// An autoscaler that was stopped continues where it was.
func TestStopAndResume(t *testing.T) {
	a, say := reported(t, 0)
	require.Equal(t, 200, say("/worker_status/", state("fast", 9, 300, 0, "")))
	_, text := route(t, a, order)
	require.Contains(t, text, `"reqnum": 0,`)
	a.Stop()
	_, err := http.Get(a.URL() + "/pubkey/")
	require.Error(t, err)
	require.NoError(t, a.Resume())
	_, text = route(t, a, order)
	require.Contains(t, text, `"reqnum": 1,`)
}
