package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReportsSayWhatHappened compares every field with a log of what was sent.
func TestReportsSayWhatHappened(t *testing.T) {
	t.Parallel()
	s, a := newSigner(t), newScaler(t, nil)
	hold, held := make(chan struct{}), make(chan struct{}, 8)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
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
	u := start(t, reporting(m, s, a.URL).with(env{"USHER_MAX_CONCURRENCY": "2", "USHER_QUEUE_CAPACITY": "0", "USHER_COST_POLICY": "enforce"})).ready()
	begun := time.Now()
	post := func(of string, body []byte) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+u.public+"/generate", strings.NewReader(string(body)))
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

	require.Equal(t, 200, status("", s.indexed("100.5", "1").flat(model)))
	named["1"] = ending{"Success", true, true}
	require.Equal(t, 418, status("refused", s.indexed("20.0", "2").flat(model)))
	named["2"] = ending{"Success", true, true}
	require.Equal(t, 500, status("failed", s.indexed("30.25", "3").flat(model)))
	named["3"] = ending{"Error", false, true}
	require.Equal(t, 403, status("", s.indexed("7.0", "4").flat(model)), "asks for more than it costs")
	named["4"] = ending{"Rejected", false, false}
	require.Equal(t, 200, status("", s.ticket().flat(model)), "a ticket of 256 without an index")
	// What was not verified is told to nobody.
	require.Equal(t, 401, status("", s.indexed("1e6", "5").with("cost", "2e6").flat(model)))
	replayed := s.indexed("40.0", "6").flat(model)
	require.Equal(t, 200, status("", replayed))
	named["6"] = ending{"Success", true, true}
	require.Equal(t, 409, status("", replayed))

	keptOpen, err := post("held", s.indexed("1000.0", "123456789012345678901234567890").flat(model))
	require.NoError(t, err)
	left, err := post("left", s.indexed("500.0", "8").flat(model))
	require.NoError(t, err)
	<-held
	<-held
	require.Equal(t, 429, status("", s.indexed("60.0", "9").flat(model)), "no slot, and no queue")
	named["9"] = ending{"Rejected", false, false}
	working := a.waitReport(t, "two in work", func(r map[string]any) bool { return r["num_requests_working"] == 2.0 && r["cur_load"] == 1500.0 })
	require.ElementsMatch(t, []any{123456789012345678901234567890.0, 8.0}, working["working_request_idxs"])
	_ = left.Body.Close()
	<-m.gone
	named["8"] = ending{"Cancelled", true, true}
	close(hold)
	_, _ = io.Copy(io.Discard, keptOpen.Body)
	_ = keptOpen.Body.Close()
	named["123456789012345678901234567890"] = ending{"Success", true, true}
	// It took 500 in that were then cancelled, and makes up for them with the next.
	require.Equal(t, 200, status("", s.indexed("2000.0", "10").flat(model)))
	named["10"] = ending{"Success", true, true}

	last := a.waitReport(t, "all is over", func(r map[string]any) bool {
		return r["num_requests_recieved"] == 10.0 && r["num_requests_working"] == 0.0
	})
	require.Equal(t, 100.5+20+30.25+256+40+1000+2000, a.sum("new_load"))
	require.Equal(t, 7.0+60, a.sum("rej_load"))
	require.Equal(t, 100.5+256+40+1000+2000, a.sum("cur_perf"))
	for member, want := range map[string]any{
		"id": 4711.0, "mtoken": masterToken, "version": "1.1.0", "cur_load": 0.0, "max_perf": 1500.0, "error_msg": "",
		"working_request_idxs": []any{}, "cur_capacity": 0.0, "max_capacity": 0.0, "url": testURL,
	} {
		require.Equal(t, want, last[member], member)
	}
	require.Positive(t, last["loadtime"])
	require.Less(t, last["loadtime"].(float64), patience.Seconds())
	require.Len(t, last, 17, "no other field")

	checkEnds(t, a, named, begun)
	checkReportsAreShown(t, u)
}

// An ending is what delete_requests should say of a request.
type ending struct {
	status           string
	success, started bool
}

// checkEnds compares what was said of each request that ended.
func checkEnds(t *testing.T, a *scaler, named map[string]ending, begun time.Time) {
	t.Helper()
	require.Eventually(t, func() bool { return len(a.ends()) >= len(named) }, patience, 5*time.Millisecond)
	require.Len(t, a.ends(), len(named))
	for _, e := range a.ends() {
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
		require.InDelta(t, float64(begun.UnixMilli())/1000, queued, patience.Seconds())
		require.LessOrEqual(t, queued, started)
		require.LessOrEqual(t, started, completed)
	}
}

// checkReportsAreShown looks for reports where operators do, and for the token.
func checkReportsAreShown(t *testing.T, u *usher) {
	t.Helper()
	_, page := u.get("/")
	require.Contains(t, page, "report acknowledged")
	require.Contains(t, page, "max_perf 1,500")
	require.Positive(t, u.metric(`usher_reports_total{kind="worker_status",outcome="acknowledged"}`))
	require.Positive(t, u.metric(`usher_reports_total{kind="delete_requests",outcome="acknowledged"}`))
	require.Less(t, u.metric(`usher_report_age_seconds`), 15.0)
	_, json := u.get("/status.json")
	_, metrics := u.get("/metrics")
	for _, text := range []string{page, json, metrics, strings.Join(u.log(), "\n")} {
		require.NotContains(t, text, masterToken)
	}
}

// A drain is said at once, and what ends in it is still told.
func TestDrainIsReported(t *testing.T) {
	t.Parallel()
	s, a := newSigner(t), newScaler(t, nil)
	hold := make(chan struct{})
	m := newModel(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-hold
	})
	u := start(t, reporting(m, s, a.URL)).ready()
	resp := u.open(t.Context(), "/generate", s.indexed("300.0", "1").flat(""))
	a.waitReport(t, "in work", func(r map[string]any) bool { return r["num_requests_working"] == 1.0 })
	u.signal(syscall.SIGTERM)
	a.waitReport(t, "draining", func(r map[string]any) bool { return r["error_msg"] == "draining" && r["num_requests_working"] == 1.0 })
	close(hold)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.Zero(t, u.wait())
	last := a.reports()[len(a.reports())-1]
	require.Equal(t, "draining", last["error_msg"])
	require.Zero(t, last["num_requests_working"])
	require.Equal(t, 300.0, a.sum("cur_perf"))
	require.Len(t, a.ends(), 1)
	require.Equal(t, "Success", a.ends()[0]["status"])
}

// A cost that was not signed is the client's word: the work that the request
// states counts in its place. An index is named all the same.
func TestWorkloadOfUnsignedCosts(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"off", "observe"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s, m, a := newSigner(t), newModel(t, nil), newScaler(t, nil)
			u := start(t, reporting(m, s, a.URL).with(env{"USHER_SIGNED_FIELDS": "url", "USHER_COST_POLICY": policy})).ready()
			claim := func(index string) ticket {
				return s.signed(ticket{
					"cost": "1000000.0", "endpoint": quote(testEndpoint), "reqnum": "1", "request_idx": index, "url": quote(testURL),
				}, "url")
			}
			require.Equal(t, 200, u.post("/generate", claim("1").flat(`"parameters":{"max_new_tokens":40,"best_of":2}`)).status)
			require.Equal(t, 200, u.post("/v1/completions", claim("2").flat(`"max_tokens":7`)).status)
			a.waitReport(t, "both", func(r map[string]any) bool {
				return r["num_requests_recieved"] == 2.0 && r["num_requests_working"] == 0.0
			})
			require.Equal(t, 80.0+7, a.sum("cur_perf"))
			require.Equal(t, 200, u.post("/generate", claim("3").flat("")).status)
			a.waitReport(t, "the third", func(r map[string]any) bool {
				return r["num_requests_recieved"] == 3.0 && r["num_requests_working"] == 0.0
			})
			require.Equal(t, 80.0+7+1e6, a.sum("cur_perf"), "it states no work")
			require.Eventually(t, func() bool { return len(a.ends()) == 3 }, patience, 5*time.Millisecond)
		})
	}
}
