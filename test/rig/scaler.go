package rig

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

const MasterToken = "master-token-that-nobody-may-see"

// A Scaler is an autoscaler that records the reports it has acknowledged.
type Scaler struct {
	*httptest.Server
	mu      sync.Mutex
	status  []map[string]any // worker_status
	ended   []map[string]any // the entries of delete_requests
	tries   int
	respond http.HandlerFunc // nil: 200
}

func NewScaler(t testing.TB, respond http.HandlerFunc) *Scaler {
	t.Helper()
	a := &Scaler{respond: respond}
	a.Server = ServeAlone(t, a.Serve)
	return a
}

func (a *Scaler) Serve(w http.ResponseWriter, r *http.Request) {
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
	a.Keep(r.URL.Path, body)
}

func (a *Scaler) Keep(path string, body []byte) {
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

// Behave changes what it answers.
func (a *Scaler) Behave(respond http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.respond = respond
}

// Reports returns the bodies of worker_status so far.
func (a *Scaler) Reports() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.status)
}

func (a *Scaler) Ends() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ended)
}

func (a *Scaler) Tried() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tries
}

// Sum adds up a member over the reports.
func (a *Scaler) Sum(member string) (sum float64) {
	for _, r := range a.Reports() {
		sum += r[member].(float64)
	}
	return sum
}

// WaitReport waits for a report that fits accepts.
func (a *Scaler) WaitReport(t testing.TB, what string, fits func(map[string]any) bool) map[string]any {
	t.Helper()
	var found map[string]any
	require.Eventually(t, func() bool {
		for _, r := range a.Reports() {
			if fits(r) {
				found = r
				return true
			}
		}
		return false
	}, Patience, 5*time.Millisecond, what)
	return found
}

// Reporting returns the settings of a worker that reports and skips the benchmark.
func Reporting(m *Model, s *Signer, addresses ...string) Env {
	return Settings(m, s).With(Env{
		"REPORT_ADDR": strings.Join(addresses, ","), "CONTAINER_ID": "4711", "MASTER_TOKEN": MasterToken, "USHER_BENCHMARK": "1500",
	})
}

// Indexed makes a ticket with a cost and a signed request_idx.
func (s *Signer) Indexed(cost, index string) Ticket {
	return s.Signed(Ticket{
		"cost": cost, "endpoint": Quote(Endpoint), "reqnum": fmt.Sprint(s.Next.Add(1)), "request_idx": index, "url": Quote(URL),
	}, "cost", "endpoint", "reqnum", "request_idx", "url")
}
