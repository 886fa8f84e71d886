package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const masterToken = "master-token-that-nobody-may-see"

// A scaler is an autoscaler that keeps what it acknowledged.
type scaler struct {
	*httptest.Server
	mu      sync.Mutex
	status  []map[string]any // worker_status
	ended   []map[string]any // the entries of delete_requests
	tries   int
	respond http.HandlerFunc // nil: 200
}

func newScaler(t testing.TB, respond http.HandlerFunc) *scaler {
	t.Helper()
	a := &scaler{respond: respond}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *scaler) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.tries++
	respond := a.respond
	a.mu.Unlock()
	if respond != nil {
		respond(w, r)
		return
	}
	a.keep(r.URL.Path, body)
}

func (a *scaler) keep(path string, body []byte) {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch path {
	case "/worker_status/":
		a.status = append(a.status, members)
	case "/delete_requests/":
		for _, r := range members["requests"].([]any) {
			a.ended = append(a.ended, r.(map[string]any))
		}
	}
}

// behave changes what it answers.
func (a *scaler) behave(respond http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.respond = respond
}

// reports are those of worker_status so far.
func (a *scaler) reports() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.status)
}

func (a *scaler) ends() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ended)
}

func (a *scaler) tried() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tries
}

// sum adds up a figure over the reports.
func (a *scaler) sum(member string) (sum float64) {
	for _, r := range a.reports() {
		sum += r[member].(float64)
	}
	return sum
}

// waitReport waits for a report that fits.
func (a *scaler) waitReport(t testing.TB, what string, fits func(map[string]any) bool) map[string]any {
	t.Helper()
	var found map[string]any
	require.Eventually(t, func() bool {
		for _, r := range a.reports() {
			if fits(r) {
				found = r
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond, what)
	return found
}

// reporting are the settings of a worker that reports, and need not measure.
func reporting(m *model, s *signer, addresses ...string) env {
	return settings(m, s).with(env{
		"REPORT_ADDR": strings.Join(addresses, ","), "CONTAINER_ID": "4711", "MASTER_TOKEN": masterToken, "USHER_BENCHMARK": "1500",
	})
}

// indexed makes a ticket with a request_idx that is signed, and a cost.
func (s *signer) indexed(cost, index string) ticket {
	return s.signed(ticket{
		"cost": cost, "endpoint": quote(testEndpoint), "reqnum": fmt.Sprint(s.next.Add(1)), "request_idx": index, "url": quote(testURL),
	}, "cost", "endpoint", "reqnum", "request_idx", "url")
}
