package report

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// TestReportsSayWhatHappened compares every field with a log of what was sent.
func TestReportsSayWhatHappened(t *testing.T) {
	t.Parallel()
	s, a := rig.NewSigner(t), rig.NewScaler(t, nil)
	hold, held := make(chan struct{}), make(chan struct{}, 8)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Case") {
		case "refused":
			w.WriteHeader(http.StatusTeapot)
		case "failed":
			w.WriteHeader(http.StatusInternalServerError)
		case "held", "left":
			_ = http.NewResponseController(w).Flush()
			held <- struct{}{}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	})
	u := rig.Start(t, rig.Reporting(m, s, a.URL).With(rig.Env{"USHER_MAX_CONCURRENCY": "2", "USHER_QUEUE_CAPACITY": "0", "USHER_COST_POLICY": "enforce"})).Ready()
	begun := time.Now()
	post := func(of string, body []byte) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+u.Public+"/generate", strings.NewReader(string(body)))
		require.NoError(t, err)
		req.Header.Set("X-Case", of)
		return http.DefaultClient.Do(req)
	}
	status := func(of string, body []byte) int {
		resp, err := post(of, body)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	named := map[string]ending{}
	const model = `"parameters":{"max_new_tokens":10}`

	require.Equal(t, 200, status("", s.Indexed("100.5", "1").Flat(model)))
	named["1"] = ending{"Success", true, true}
	require.Equal(t, 418, status("refused", s.Indexed("20.0", "2").Flat(model)))
	named["2"] = ending{"Success", true, true}
	require.Equal(t, 500, status("failed", s.Indexed("30.25", "3").Flat(model)))
	named["3"] = ending{"Error", false, true}
	require.Equal(t, 403, status("", s.Indexed("7.0", "4").Flat(model)), "asks for more than it costs")
	named["4"] = ending{"Rejected", false, false}
	require.Equal(t, 200, status("", s.Ticket().Flat(model)), "a ticket of 256 without an index")
	// What was not verified is not reported.
	require.Equal(t, 401, status("", s.Indexed("1e6", "5").With("cost", "2e6").Flat(model)))
	replayed := s.Indexed("40.0", "6").Flat(model)
	require.Equal(t, 200, status("", replayed))
	named["6"] = ending{"Success", true, true}
	require.Equal(t, 409, status("", replayed))

	u.WaitMetric("usher_in_flight", 0) // there are two slots
	keptOpen, err := post("held", s.Indexed("1000.0", "123456789012345678901234567890").Flat(model))
	require.NoError(t, err)
	left, err := post("left", s.Indexed("500.0", "8").Flat(model))
	require.NoError(t, err)
	<-held
	<-held
	require.Equal(t, 429, status("", s.Indexed("60.0", "9").Flat(model)), "no slot, and no queue")
	named["9"] = ending{"Rejected", false, false}
	working := a.WaitReport(t, "two in work", func(r map[string]any) bool { return r["num_requests_working"] == 2.0 && r["cur_load"] == 1500.0 })
	require.ElementsMatch(t, []any{123456789012345678901234567890.0, 8.0}, working["working_request_idxs"])
	_ = left.Body.Close()
	<-m.Gone
	named["8"] = ending{"Cancelled", true, true}
	close(hold)
	_, _ = io.Copy(io.Discard, keptOpen.Body)
	_ = keptOpen.Body.Close()
	named["123456789012345678901234567890"] = ending{"Success", true, true}
	u.WaitMetric("usher_in_flight", 0)
	// It counted 500 that were then cancelled, and makes up for them with the next.
	require.Equal(t, 200, status("", s.Indexed("2000.0", "10").Flat(model)))
	named["10"] = ending{"Success", true, true}

	last := a.WaitReport(t, "all is over", func(r map[string]any) bool {
		return r["num_requests_recieved"] == 10.0 && r["num_requests_working"] == 0.0
	})
	require.Equal(t, 100.5+20+30.25+256+40+1000+2000, a.Sum("new_load"))
	require.Equal(t, 7.0+60, a.Sum("rej_load"))
	require.Equal(t, 100.5+256+40+1000+2000, a.Sum("cur_perf"))
	for member, want := range map[string]any{
		"id": 4711.0, "mtoken": rig.MasterToken, "version": "1.1.0", "cur_load": 0.0, "max_perf": 1500.0, "error_msg": "",
		"working_request_idxs": []any{}, "cur_capacity": 0.0, "max_capacity": 0.0, "url": rig.URL,
	} {
		require.Equal(t, want, last[member], member)
	}
	require.Positive(t, last["loadtime"])
	require.Less(t, last["loadtime"].(float64), rig.Patience.Seconds())
	require.Len(t, last, 17, "no other field")

	checkEnds(t, a, named, begun)
	checkReportsAreShown(t, u)
}

// An ending is what delete_requests should say about a request.
type ending struct {
	status           string
	success, started bool
}

// checkEnds compares what was reported about each request that ended.
func checkEnds(t *testing.T, a *rig.Scaler, named map[string]ending, begun time.Time) {
	t.Helper()
	require.Eventually(t, func() bool { return len(a.Ends()) >= len(named) }, rig.Patience, 5*time.Millisecond)
	require.Len(t, a.Ends(), len(named))
	for _, e := range a.Ends() {
		index := fmt.Sprintf("%.0f", e["request_idx"])
		if index == fmt.Sprintf("%.0f", 123456789012345678901234567890.0) {
			index = "123456789012345678901234567890"
		}
		want, ok := named[index]
		require.True(t, ok, index)
		require.Equal(t, want.status, e["status"], index)
		require.Equal(t, want.success, e["success"], index)
		queued, started, completed := e["entered_queue_at"].(float64), e["work_started_at"].(float64), e["work_completed_at"].(float64)
		if !want.started {
			require.Zero(t, queued+started+completed, index)
			continue
		}
		require.InDelta(t, float64(begun.UnixMilli())/1000, queued, rig.Patience.Seconds())
		require.LessOrEqual(t, queued, started)
		require.LessOrEqual(t, started, completed)
	}
}

// checkReportsAreShown checks that operators can see the reports, and not the token.
func checkReportsAreShown(t *testing.T, u *rig.Usher) {
	t.Helper()
	_, page := u.Get("/")
	require.Contains(t, page, "report acknowledged")
	require.Contains(t, page, "max_perf 1,500")
	require.Positive(t, u.Metric(`usher_reports_total{kind="worker_status",outcome="acknowledged"}`))
	require.Positive(t, u.Metric(`usher_reports_total{kind="delete_requests",outcome="acknowledged"}`))
	require.Less(t, u.Metric(`usher_report_age_seconds`), 15.0)
	_, json := u.Get("/status.json")
	_, metrics := u.Get("/metrics")
	for _, text := range []string{page, json, metrics, strings.Join(u.Log(), "\n")} {
		require.NotContains(t, text, rig.MasterToken)
	}
}

// A drain is reported at once, and so are the requests that end during it.
func TestDrainIsReported(t *testing.T) {
	t.Parallel()
	s, a := rig.NewSigner(t), rig.NewScaler(t, nil)
	hold := make(chan struct{})
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-hold
	})
	u := rig.Start(t, rig.Reporting(m, s, a.URL)).Ready()
	resp := u.Open(t.Context(), "/generate", s.Indexed("300.0", "1").Flat(""))
	a.WaitReport(t, "in work", func(r map[string]any) bool { return r["num_requests_working"] == 1.0 })
	u.Signal(syscall.SIGTERM)
	a.WaitReport(t, "draining", func(r map[string]any) bool { return r["error_msg"] == "draining" && r["num_requests_working"] == 1.0 })
	close(hold)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.Zero(t, u.Wait())
	last := a.Reports()[len(a.Reports())-1]
	require.Equal(t, "draining", last["error_msg"])
	require.Zero(t, last["num_requests_working"])
	require.Equal(t, 300.0, a.Sum("cur_perf"))
	require.Len(t, a.Ends(), 1)
	require.Equal(t, "Success", a.Ends()[0]["status"])
}

// A cost that is not signed is only the client's word, so the work that the request
// states counts instead. Its index is still reported.
func TestWorkloadOfUnsignedCosts(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"off", "observe"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s, m, a := rig.NewSigner(t), rig.NewModel(t, nil), rig.NewScaler(t, nil)
			u := rig.Start(t, rig.Reporting(m, s, a.URL).With(rig.Env{"USHER_SIGNED_FIELDS": "url", "USHER_COST_POLICY": policy})).Ready()
			claim := func(index string) rig.Ticket {
				return s.Signed(rig.Ticket{
					"cost": "1000000.0", "endpoint": rig.Quote(rig.Endpoint), "reqnum": "1", "request_idx": index, "url": rig.Quote(rig.URL),
				}, "url")
			}
			require.Equal(t, 200, u.Post("/generate", claim("1").Flat(`"parameters":{"max_new_tokens":40,"best_of":2}`)).Status)
			require.Equal(t, 200, u.Post("/v1/completions", claim("2").Flat(`"max_tokens":7`)).Status)
			a.WaitReport(t, "both", func(r map[string]any) bool {
				return r["num_requests_recieved"] == 2.0 && r["num_requests_working"] == 0.0
			})
			require.Equal(t, 80.0+7, a.Sum("cur_perf"))
			require.Equal(t, 200, u.Post("/generate", claim("3").Flat("")).Status)
			a.WaitReport(t, "the third", func(r map[string]any) bool {
				return r["num_requests_recieved"] == 3.0 && r["num_requests_working"] == 0.0
			})
			require.Equal(t, 80.0+7+1e6, a.Sum("cur_perf"), "it states no work")
			require.Eventually(t, func() bool { return len(a.Ends()) == 3 }, rig.Patience, 5*time.Millisecond)
		})
	}
}
