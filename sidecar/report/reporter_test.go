package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const token = "a-token-that-nobody-sees"

// A scaler is an autoscaler without a network. It records requests and answers them as
// answer says.
type scaler struct {
	mu     sync.Mutex
	came   []call
	answer func(n int, r *http.Request) (*http.Response, error) // nil: 200
}

type call struct {
	at   time.Time
	url  string
	body map[string]any
}

func (s *scaler) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c := call{at: time.Now(), url: r.URL.String()}
	if err := json.Unmarshal(text, &c.body); err != nil {
		return nil, err
	}
	s.mu.Lock()
	n := len(s.came)
	s.came = append(s.came, c)
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		return answer(n, r)
	}
	return status(200)
}

func (s *scaler) answers(f func(n int, r *http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// calls returns the requests to a path, from the nth on.
func (s *scaler) calls(path string) (list []call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.came {
		if strings.HasSuffix(c.url, path) {
			list = append(list, c)
		}
	}
	return list
}

func status(code int) (*http.Response, error) {
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("rubbish"))}, nil
}

// world is a reporter that runs against a scaler, in a bubble of its own time.
type world struct {
	*scaler
	tally    *Tally
	reporter *Reporter
	state    atomic.Pointer[State]
	disk     atomic.Uint64
	outcomes map[string]int // under scaler.mu
	errors   []string
	stop     func()
}

func run(t *testing.T, generation Generation, addresses ...string) *world {
	if addresses == nil {
		addresses = []string{"https://a.example/"}
	}
	w := &world{scaler: &scaler{}, tally: NewTally(64), outcomes: map[string]int{}}
	w.state.Store(&State{LoadTime: 3 * time.Second, MaxPerf: 1000})
	var err error
	w.reporter, err = New(Options{
		Generation: generation, Addresses: addresses, Identity: Identity{7, token, "https://w.example:1"},
		Tally: w.tally, State: func(time.Time) State { return *w.state.Load() },
		DiskUsed: func() (uint64, bool) { return w.disk.Load(), true },
		Tried: func(kind Kind, outcome Outcome, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.outcomes[string(kind)+" "+string(outcome)]++
			if err != nil {
				w.errors = append(w.errors, err.Error())
			}
		},
		Transport: w.scaler,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.reporter.Run(ctx) }()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(w.stop)
	synctest.Wait()
	return w
}

func (w *world) serve(cost float64, index string) {
	work := w.tally.Begin(cost, index)
	w.tally.End(&work, Served, Times{})
}

// TestStatusSaysExactlyThis checks every field of a 2026 report by its name.
func TestStatusSaysExactlyThis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2026)
		require.Len(t, w.calls("/worker_status/"), 1, "at once")
		w.disk.Store(3 << 29)
		inWork := w.tally.Begin(100, "99999999999999999999")
		for _, end := range []End{Served, Answered, Failed, TurnedAway, Cancelled, Refused} {
			work := w.tally.Begin(float64(int(1)<<end), "")
			w.tally.End(&work, end, Times{})
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		calls := w.calls("/worker_status/")
		require.Len(t, calls, 2)
		require.Equal(t, "https://a.example/worker_status/", calls[1].url)
		text, err := json.Marshal(calls[1].body)
		require.NoError(t, err)
		require.JSONEq(t, `{"id":7,"mtoken":"`+token+`","version":"1.1.0","loadtime":3,"cur_load":100,"new_load":111,
			"rej_load":16,"cur_perf":1,"max_perf":1000,"error_msg":"","num_requests_working":1,"num_requests_recieved":7,
			"additional_disk_usage":1.5,"working_request_idxs":[99999999999999999999],"cur_capacity":0,"max_capacity":0,
			"url":"https://w.example:1"}`, string(text))
		require.Equal(t, &Said{At: calls[1].at, Load: 100, Taken: 111, Working: 1, State: *w.state.Load()}, w.reporter.Said())
		// Its client leaves after that: nothing more was taken in, and nothing negative is
		// reported.
		w.tally.End(&inWork, Cancelled, Times{})
		time.Sleep(time.Second)
		synctest.Wait()
		last := w.calls("/worker_status/")[2].body
		require.Equal(t, 0.0, last["new_load"])
		require.Equal(t, []any{}, last["working_request_idxs"])
		w.serve(150, "")
		time.Sleep(time.Second)
		synctest.Wait()
		last = w.calls("/worker_status/")[3].body
		require.Equal(t, 50.0, last["new_load"], "made up for")
		require.Equal(t, 150.0, last["cur_perf"])
		require.Equal(t, 0.0, last["additional_disk_usage"])
	})
}

func TestStatusOf2024(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2024, "https://a.example", "https://b.example")
		first := w.calls("/worker_status/")
		require.Len(t, first, 2, "to every address")
		require.Equal(t, 3.0, first[0].body["loadtime"])
		w.answers(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a.example" {
				return status(500)
			}
			return status(200)
		})
		work := w.tally.Begin(300, "5")
		w.tally.End(&work, Served, Times{Started: time.Now().Add(-2 * time.Second), Completed: time.Now()})
		turned := w.tally.Begin(100, "6")
		w.tally.End(&turned, TurnedAway, Times{})
		left := w.tally.Begin(50, "7")
		w.tally.End(&left, Cancelled, Times{})
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		calls := w.calls("/worker_status/")
		require.Len(t, calls, 4)
		text, err := json.Marshal(calls[3].body)
		require.NoError(t, err)
		require.JSONEq(t, `{"id":7,"loadtime":0,"cur_load":400,"max_perf":1000,"cur_perf":150,"error_msg":"",
			"num_requests_working":0,"num_requests_recieved":3,"additional_disk_usage":0,"cur_capacity":0,"max_capacity":0,
			"url":"https://w.example:1"}`, string(text))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, w.calls("/worker_status/"), 6, "one took it: nothing new for ten seconds")
		require.Empty(t, w.calls("/delete_requests/"))
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2026)
		w.state.Store(&State{})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, w.calls("/worker_status/"), 7, "loading: every 10 s")
		for range 30 {
			w.serve(1, "")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Len(t, w.calls("/worker_status/"), 10, "loading, whatever happens")
		w.state.Store(&State{LoadTime: time.Second})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Len(t, w.calls("/worker_status/"), 11, "that it is loaded is worth saying")
		for range 30 {
			w.serve(1, "")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.InDelta(t, 41, len(w.calls("/worker_status/")), 1, "every second while something changes")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.InDelta(t, 44, len(w.calls("/worker_status/")), 1, "every 10 s while nothing does")
		// A drain is reported at once.
		w.state.Store(&State{LoadTime: time.Second, Problem: "draining"})
		before := time.Now()
		w.reporter.Poke()
		synctest.Wait()
		calls := w.calls("/worker_status/")
		require.Equal(t, before, calls[len(calls)-1].at)
		require.Equal(t, "draining", calls[len(calls)-1].body["error_msg"])
	})
}

// TestAnHourWithoutAutoscaler: counting goes on, and everything is reported when the
// autoscaler is back.
func TestAnHourWithoutAutoscaler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2026, "https://a.example", "https://b.example")
		w.answers(func(n int, _ *http.Request) (*http.Response, error) {
			if n%2 == 0 {
				return status(503)
			}
			return nil, errors.New(`malformed HTTP response "` + token + `"`)
		})
		before := len(w.calls("/"))
		start := time.Now()
		for i := range 360 {
			w.serve(20, strconv.Itoa(i))
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		tries := w.calls("/worker_status/")
		require.Less(t, len(tries)-before, 3600/2, "it backs off")
		require.Greater(t, len(tries)-before, 2*3600/11)
		for i := 3; i < len(tries); i += 2 {
			gap := tries[i].at.Sub(tries[i-2].at)
			require.GreaterOrEqual(t, gap, time.Second)
			require.LessOrEqual(t, gap, 10*time.Second)
		}
		w.answers(nil)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		back := w.calls("/worker_status/")[len(tries)].body // another may have followed
		require.Equal(t, 7200.0, back["cur_perf"])
		require.Equal(t, 7200.0, back["new_load"])
		require.Equal(t, 360.0, back["num_requests_recieved"])
		named := map[any]bool{}
		ended := w.calls("/delete_requests/")
		for _, r := range ended[len(ended)-1].body["requests"].([]any) {
			named[r.(map[string]any)["request_idx"]] = true
		}
		require.Len(t, named, 360)
		require.WithinDuration(t, start.Add(time.Hour), w.reporter.Said().At, 12*time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		require.NotContains(t, strings.Join(w.errors, "\n"), token)
		require.NotZero(t, w.outcomes["worker_status refused"])
		require.NotZero(t, w.outcomes["worker_status unreachable"])
	})
}

// A report that gets no answer is given up after ten seconds. The address that accepted
// the last one is tried first.
func TestAddressesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2026, "https://a.example", "https://b.example")
		w.answers(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a.example" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return status(204)
		})
		w.serve(5, "")
		time.Sleep(11500 * time.Millisecond)
		synctest.Wait()
		calls := w.calls("/worker_status/")
		require.Len(t, calls, 3)
		require.Equal(t, 10*time.Second, calls[2].at.Sub(calls[1].at))
		require.Equal(t, 5.0, calls[2].body["cur_perf"])
		w.serve(6, "")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		calls = w.calls("/worker_status/")
		require.Contains(t, calls[3].url, "b.example")
		require.Equal(t, 6.0, calls[3].body["cur_perf"], "each once")
		w.mu.Lock()
		require.Equal(t, 1, w.outcomes["worker_status timeout"])
		w.mu.Unlock()
	})
}

func TestEndsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, Generation2026)
		at := time.Unix(1_700_000_000, 250_000_000)
		for end := range endWords {
			work := w.tally.Begin(1, strconv.Itoa(end))
			w.tally.End(&work, End(end), Times{Queued: at, Started: at.Add(time.Second), Completed: at.Add(2 * time.Second)})
		}
		w.serve(1, "") // has no index
		work := w.tally.Begin(1, "-3")
		w.tally.End(&work, TurnedAway, Times{Queued: at})
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		calls := w.calls("/delete_requests/")
		require.Len(t, calls, 1)
		text, err := json.Marshal(calls[0].body)
		require.NoError(t, err)
		entry := func(idx int, success bool, status, times string) string {
			return fmt.Sprintf(`{"request_idx":%d,"success":%v,"status":"%s",%s}`, idx, success, status, times)
		}
		const whole = `"entered_queue_at":1700000000.25,"work_started_at":1700000001.25,"work_completed_at":1700000002.25`
		require.JSONEq(t, `{"worker_id":7,"mtoken":"`+token+`","requests":[`+strings.Join([]string{
			entry(0, true, "Success", whole), entry(1, true, "Success", whole), entry(2, true, "Cancelled", whole),
			entry(3, false, "Error", whole), entry(4, false, "Rejected", whole), entry(5, false, "Rejected", whole),
			entry(-3, false, "Rejected", `"entered_queue_at":1700000000.25,"work_started_at":0,"work_completed_at":0`),
		}, ",")+`]}`, string(text))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Len(t, w.calls("/delete_requests/"), 1, "nothing more to name")
	})
}

// When Run ends it sends what is left, within three seconds whatever the autoscaler
// does.
func TestLastTry(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := run(t, Generation2026, "https://a.example", "https://b.example")
			if hangs {
				w.answers(func(_ int, r *http.Request) (*http.Response, error) {
					if r.URL.Host == "b.example" && len(w.calls("b.example/worker_status/")) == 0 {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					if r.URL.Host == "a.example" {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return status(200)
				})
				time.Sleep(11 * time.Second) // one is under way, and hangs
			}
			w.serve(9, "1")
			before, named := len(w.calls("/worker_status/")), len(w.calls("/delete_requests/"))
			end := time.Now()
			w.stop()
			require.LessOrEqual(t, time.Since(end), lastTries)
			calls := w.calls("/worker_status/")
			require.Greater(t, len(calls), before)
			require.Equal(t, 9.0, calls[len(calls)-1].body["cur_perf"])
			require.Greater(t, len(w.calls("/delete_requests/")), named)
			require.Equal(t, float64(9), w.reporter.Said().Taken)
		})
	}
}
