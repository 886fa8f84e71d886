package autoscaler

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// States of a worker that reports, other than ready.
const (
	silent  = "silent"  // has not reported for Options.Silence, or never
	loading = "loading" // has never reported that it is loaded
	failing = "error"   // reports an error
)

// maxReport bounds a report, in bytes.
const maxReport = 16 << 20

// A report is what a worker last reported, and what it has been assigned since.
type report struct {
	at       time.Time // zero: it never reported
	loaded   bool
	problem  string
	maxPerf  float64
	curLoad  float64
	assigned float64 // cost of the tickets since
}

// Reports counts what workers have reported so far.
type Reports struct {
	Status int            // reports of state
	Ended  map[string]int // ended requests by how they ended
}

// Reports returns what has been reported so far.
func (a *Autoscaler) Reports() Reports {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := Reports{Status: a.reports.Status, Ended: make(map[string]int, len(a.reports.Ended))}
	for how, n := range a.reports.Ended {
		r.Ended[how] = n
	}
	return r
}

// Ready returns how many workers are ready.
func (a *Autoscaler) Ready() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, w := range a.workers {
		if a.reportedState(w, time.Now()) == ready {
			n++
		}
	}
	return n
}

// workerStatus answers POST /worker_status/.
func (a *Autoscaler) workerStatus(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID         *int64        `json:"id"`
		MToken     string        `json:"mtoken"`
		LoadTime   *float64      `json:"loadtime"`
		CurLoad    *float64      `json:"cur_load"`
		MaxPerf    *float64      `json:"max_perf"`
		ErrorMsg   *string       `json:"error_msg"`
		URL        string        `json:"url"`
		WorkingIdx []json.Number `json:"working_request_idxs"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&in)
	if err != nil || in.ID == nil || in.LoadTime == nil || in.CurLoad == nil || in.MaxPerf == nil || in.ErrorMsg == nil || in.WorkingIdx == nil {
		answer(w, http.StatusBadRequest, `{"error": "not a report of 2026"}`)
		return
	}
	if in.MToken != a.options.MasterToken {
		answer(w, http.StatusUnauthorized, `{"error": "mtoken is not valid"}`)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.workers, func(w *worker) bool { return w.url == in.URL })
	if i < 0 {
		answer(w, http.StatusNotFound, `{"error": "no worker of this group has that url"}`)
		return
	}
	last := &a.workers[i].report
	*last = report{
		at: time.Now(), loaded: last.loaded || *in.LoadTime > 0, problem: *in.ErrorMsg,
		maxPerf: *in.MaxPerf, curLoad: *in.CurLoad,
	}
	a.reports.Status++
	answer(w, http.StatusOK, `{}`)
}

// deleteRequests answers POST /delete_requests/.
func (a *Autoscaler) deleteRequests(w http.ResponseWriter, r *http.Request) {
	type ended struct {
		RequestIdx *int64 `json:"request_idx"`
		Status     string `json:"status"`
	}
	var in struct {
		MToken   string  `json:"mtoken"`
		Requests []ended `json:"requests"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&in)
	if err != nil || slices.ContainsFunc(in.Requests, func(r ended) bool { return r.RequestIdx == nil }) {
		answer(w, http.StatusBadRequest, `{"error": "not a list of requests that ended"}`)
		return
	}
	if in.MToken != a.options.MasterToken {
		answer(w, http.StatusUnauthorized, `{"error": "mtoken is not valid"}`)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range in.Requests {
		a.reports.Ended[r.Status]++
	}
	answer(w, http.StatusOK, `{}`)
}

// reportedState returns a worker's state according to its reports. mu is held.
func (a *Autoscaler) reportedState(w *worker, now time.Time) string {
	switch r := &w.report; {
	case r.at.IsZero() || now.Sub(r.at) >= a.options.Silence:
		return silent
	case !r.loaded:
		return loading
	case r.problem != "":
		return failing
	}
	return ready
}

// chooseReported returns the ready worker that would finish its work and this request
// first, or nil and how many workers are in which state.
func (a *Autoscaler) chooseReported(cost float64) (*worker, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	count := map[string]int{}
	var best *worker
	least, place := 0.0, 0
	for i := range a.workers {
		at := (a.turn + i) % len(a.workers)
		w := a.workers[at]
		state := a.reportedState(w, now)
		count[state]++
		if state != ready {
			continue
		}
		// A worker that does not know its speed counts as slow.
		if wait := (w.report.curLoad + w.report.assigned + cost) / max(w.report.maxPerf, 1); best == nil || wait < least {
			best, least, place = w, wait, at
		}
	}
	if best != nil {
		best.report.assigned += cost
		a.turn = place + 1
		return best, ""
	}
	var members []member
	for _, state := range []string{ready, loading, failing, silent} {
		members = append(members, member{state, strconv.Itoa(count[state])})
	}
	return nil, object(members)
}
