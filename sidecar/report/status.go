package report

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Generation says which form of reports an autoscaler accepts.
type Generation string

// The generations.
const (
	Generation2026 Generation = "2026"
	Generation2024 Generation = "2024"
)

// Names returns how many requests in work a Tally for the reports must be able to name,
// if there may be most: those of 2024 name none.
func (g Generation) Names(most int) int {
	if g == Generation2024 {
		return 0
	}
	return most
}

// protocolVersion is the version of the 2026 reports.
const protocolVersion = "1.1.0"

// An Identity says who reports.
type Identity struct {
	ID    int64  // of the instance
	Token string // sent in 2026 reports and nowhere else
	URL   string // this worker's public address
}

// Format keeps the token out of everything that is printed, with any verb.
func (i Identity) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d at %s", i.ID, i.URL) }

// A State is what a report says besides the load.
type State struct {
	LoadTime time.Duration // from the start until the worker was loaded; 0: it is not loaded yet
	MaxPerf  float64       // workload/s; 0: not measured
	Problem  string        // a sentence; "": none
}

// A statusReport is one worker_status that is about to be sent.
type statusReport struct {
	at      time.Time
	counts  counts
	delta   delta
	state   State
	indexes []string // of the requests in work
	disk    float64  // GiB more than in the last acknowledged one
}

// status2026 is the body of a 2026 report. The names are given by the protocol,
// including the misspelt one.
type status2026 struct {
	ID                  int64         `json:"id"`
	MToken              string        `json:"mtoken"`
	Version             string        `json:"version"`
	LoadTime            float64       `json:"loadtime"`
	CurLoad             float64       `json:"cur_load"`
	NewLoad             float64       `json:"new_load"`
	RejLoad             float64       `json:"rej_load"`
	CurPerf             float64       `json:"cur_perf"`
	MaxPerf             float64       `json:"max_perf"`
	ErrorMsg            string        `json:"error_msg"`
	NumRequestsWorking  int64         `json:"num_requests_working"`
	NumRequestsRecieved int64         `json:"num_requests_recieved"`
	AdditionalDiskUsage float64       `json:"additional_disk_usage"`
	WorkingRequestIdxs  []json.Number `json:"working_request_idxs"`
	CurCapacity         int           `json:"cur_capacity"`
	MaxCapacity         int           `json:"max_capacity"`
	URL                 string        `json:"url"`
}

// encode2026 makes the body of a 2026 report.
func encode2026(who Identity, r *statusReport) ([]byte, error) {
	return json.Marshal(status2026{
		ID: who.ID, MToken: who.Token, Version: protocolVersion,
		LoadTime: r.state.LoadTime.Seconds(),
		CurLoad:  workload(r.counts.load), NewLoad: workload(r.delta.taken), RejLoad: workload(r.delta.rejected),
		CurPerf: workload(r.delta.served), MaxPerf: r.state.MaxPerf, ErrorMsg: r.state.Problem,
		NumRequestsWorking: r.counts.working, NumRequestsRecieved: r.counts.verified,
		AdditionalDiskUsage: r.disk, WorkingRequestIdxs: numbers(r.indexes), URL: who.URL,
	})
}

// numbers returns integer literals as JSON numbers of any size; they may exceed 64
// bits.
func numbers(literals []string) []json.Number {
	list := make([]json.Number, len(literals))
	for i, literal := range literals {
		list[i] = json.Number(literal)
	}
	return list
}

// status2024 is the body of a 2024 report.
type status2024 struct {
	ID                  int64   `json:"id"`
	LoadTime            float64 `json:"loadtime"`
	CurLoad             float64 `json:"cur_load"`
	MaxPerf             float64 `json:"max_perf"`
	CurPerf             float64 `json:"cur_perf"`
	ErrorMsg            string  `json:"error_msg"`
	NumRequestsWorking  int64   `json:"num_requests_working"`
	NumRequestsRecieved int64   `json:"num_requests_recieved"`
	AdditionalDiskUsage float64 `json:"additional_disk_usage"`
	CurCapacity         int     `json:"cur_capacity"`
	MaxCapacity         int     `json:"max_capacity"`
	URL                 string  `json:"url"`
}

// encode2024 makes the body of a 2024 report. The load is a rate over the time since
// the last acknowledged report. The load time is sent only if sayLoadTime is set,
// which is so until a report with it has been acknowledged.
func encode2024(who Identity, r *statusReport, since time.Duration, sayLoadTime bool) ([]byte, error) {
	body := status2024{
		ID: who.ID, MaxPerf: r.state.MaxPerf, CurPerf: r.counts.speed, ErrorMsg: r.state.Problem,
		NumRequestsWorking: r.counts.working, NumRequestsRecieved: r.counts.verified,
		AdditionalDiskUsage: r.disk, URL: who.URL,
	}
	if sayLoadTime {
		body.LoadTime = r.state.LoadTime.Seconds()
	}
	if since > 0 {
		body.CurLoad = workload(r.delta.taken) / since.Seconds()
	}
	return json.Marshal(body)
}

// endedRequests is the body of delete_requests.
type endedRequests struct {
	WorkerID int64          `json:"worker_id"`
	MToken   string         `json:"mtoken"`
	Requests []endedRequest `json:"requests"`
}

type endedRequest struct {
	RequestIdx      json.Number `json:"request_idx"`
	Success         bool        `json:"success"`
	Status          string      `json:"status"`
	EnteredQueueAt  float64     `json:"entered_queue_at"`
	WorkStartedAt   float64     `json:"work_started_at"`
	WorkCompletedAt float64     `json:"work_completed_at"`
}

// endWords maps each end to the words of delete_requests.
var endWords = [...]struct {
	status  string
	success bool
}{
	Served: {"Success", true}, Answered: {"Success", true}, Cancelled: {"Cancelled", true},
	Failed: {"Error", false}, TurnedAway: {"Rejected", false}, Refused: {"Rejected", false},
}

// encodeEnded makes the body that names requests that ended.
func encodeEnded(who Identity, entries []*entry) ([]byte, error) {
	body := endedRequests{WorkerID: who.ID, MToken: who.Token, Requests: make([]endedRequest, len(entries))}
	for i, e := range entries {
		words := endWords[e.end]
		body.Requests[i] = endedRequest{
			RequestIdx: json.Number(e.index), Success: words.success, Status: words.status,
			EnteredQueueAt: epoch(e.times.Queued), WorkStartedAt: epoch(e.times.Started), WorkCompletedAt: epoch(e.times.Completed),
		}
	}
	return json.Marshal(body)
}

// epoch returns a time in seconds since 1970, to the microsecond; 0 for the zero
// time.
func epoch(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
