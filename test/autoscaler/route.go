package autoscaler

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// States of a worker.
const (
	ready       = "ready"
	unhealthy   = "unhealthy"   // did not answer 200
	unreachable = "unreachable" // did not answer in time
)

// route answers POST /route/.
func (a *Autoscaler) route(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Endpoint   string   `json:"endpoint"`
		APIKey     string   `json:"api_key"`
		Cost       *float64 `json:"cost"`
		RequestIdx *int64   `json:"request_idx"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in)
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, `{"error": "a JSON object with endpoint, api_key and cost is expected"}`)
		return
	case in.APIKey != a.options.APIKey:
		answer(w, http.StatusUnauthorized, `{"error": "api_key is not valid"}`)
		return
	case in.Endpoint != a.options.Endpoint:
		answer(w, http.StatusNotFound, `{"error": "there is no such endpoint"}`)
		return
	case in.Cost == nil || *in.Cost < 0:
		answer(w, http.StatusBadRequest, `{"error": "cost must be a number, not negative"}`)
		return
	}
	requestIdx := ""
	if in.RequestIdx != nil {
		requestIdx = strconv.FormatInt(*in.RequestIdx, 10)
	}
	chosen, status := a.choose(r.Context(), *in.Cost)
	if chosen != nil {
		answer(w, http.StatusOK, a.issue(chosen, *in.Cost, requestIdx).JSON())
		return
	}
	members := []member{{"endpoint", quote(in.Endpoint)}, {"status", status}}
	if a.options.RequestIdx {
		a.mu.Lock()
		members = append(members, member{"request_idx", a.indexed(requestIdx)})
		a.mu.Unlock()
	}
	answer(w, http.StatusOK, object(members))
}

// choose returns the worker for a request, or nil and how many workers are in
// which state.
func (a *Autoscaler) choose(ctx context.Context, cost float64) (*worker, string) {
	if a.options.MasterToken != "" {
		return a.chooseReported(cost)
	}
	a.ask(ctx)
	return a.chooseHealthy()
}

// chooseHealthy returns the next worker that is ready.
func (a *Autoscaler) chooseHealthy() (*worker, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	count := map[string]int{}
	for i := range a.workers {
		place := (a.turn + i) % len(a.workers)
		w := a.workers[place]
		if w.state == ready {
			a.turn = place + 1
			return w, ""
		}
		count[w.state]++
	}
	var members []member
	for _, state := range []string{ready, unhealthy, unreachable} {
		members = append(members, member{state, strconv.Itoa(count[state])})
	}
	return nil, object(members)
}

// ask asks all workers without a recent answer, at once.
func (a *Autoscaler) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.options.HealthTimeout)
	defer cancel()
	var wait sync.WaitGroup
	for _, w := range a.workers {
		a.mu.Lock()
		fresh := time.Since(w.asked) < a.options.HealthCache
		a.mu.Unlock()
		if fresh {
			continue
		}
		wait.Go(func() {
			state := a.stateOf(ctx, w.health)
			a.mu.Lock()
			w.state, w.asked = state, time.Now()
			a.mu.Unlock()
		})
	}
	wait.Wait()
}

func (a *Autoscaler) stateOf(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return unreachable
	}
	response, err := a.client.Do(request)
	if err != nil {
		return unreachable
	}
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return unhealthy
	}
	return ready
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
