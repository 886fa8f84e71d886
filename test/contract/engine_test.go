package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// An operator who sets an engine's name and address, and nothing else, gets what that
// engine is known to serve.
var engines = map[string]struct {
	routes []string
	open   []string // without a ticket
	health string
	stream string // one of the routes, and a stream there without its final event
	kind   string
	cut    string
}{
	"vllm": {
		[]string{"/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize"},
		[]string{"/v1/models"}, "/health", "/v1/chat/completions", "text/event-stream", "data: {\"choices\":[]}\n\n",
	},
	"sglang": {
		[]string{"/generate", "/v1/completions", "/v1/chat/completions", "/v1/embeddings"},
		[]string{"/v1/models"}, "/health", "/generate", "text/event-stream", "data: {\"text\":\"a\"}\n\n",
	},
	"tgi": {
		[]string{"/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"},
		[]string{"/info", "/v1/models"}, "/health", "/generate_stream", "text/event-stream", "data:{\"generated_text\":null}\n\n",
	},
	"llamacpp": {
		[]string{"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/completion", "/tokenize", "/detokenize"},
		[]string{"/v1/models"}, "/health", "/v1/messages", "text/event-stream", "event: ping\ndata: {\"type\":\"ping\"}\n\n",
	},
	"ollama": {
		[]string{"/api/generate", "/api/chat", "/api/embed", "/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"},
		[]string{"/api/tags", "/v1/models", "/api/version"}, "/api/version", "/api/chat", "application/x-ndjson", "{\"done\":false}\n",
	},
}

func TestEngineIsKnownByName(t *testing.T) {
	t.Parallel()
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rig.NewSigner(t)
			probed := make(chan string, 1024)
			m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					select {
					case probed <- r.URL.Path:
					default:
					}
					return
				}
				if r.Header.Get("X-Request-Id") == "cut" {
					w.Header().Set("Content-Type", e.kind)
					_, _ = io.WriteString(w, e.cut)
					_ = http.NewResponseController(w).Flush()
					return
				}
				_, _ = io.WriteString(w, "{}")
			})
			u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ENGINE": name})).Ready()
			for _, route := range e.routes {
				require.Equal(t, 200, u.Do("POST", route, s.Ticket().Flat(""), nil).Status, route)
			}
			for _, open := range e.open {
				require.Equal(t, 200, u.Do("GET", open, nil, nil).Status, open)
				require.NotEqual(t, 200, u.Do("POST", open, s.Ticket().Flat(""), nil).Status, open)
			}
			require.Equal(t, "route_unknown", u.Do("POST", "/mine", s.Ticket().Flat(""), nil).Code())
			if e.health != "/health" { // which the stub answers by itself
				require.Equal(t, e.health, <-probed)
			}
			// A stream that ends without its final event counts as broken: the client
			// is told, and cut off.
			got, err := cutStream(u, e.stream, s.Ticket().Flat(""))
			require.Error(t, err, "a broken stream must not end cleanly")
			require.True(t, strings.HasPrefix(got, e.cut), got)
			require.Contains(t, got, "upstream_broken")
			require.Contains(t, u.WaitLine(`"outcome":"upstream_broken"`), `"route":"`+e.stream+`"`)
		})
	}
}

// cutStream reads a stream to its end and returns it with the error it ends with.
func cutStream(u *rig.Usher, route string, body []byte) (string, error) {
	u.T.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+u.Public+route, strings.NewReader(string(body)))
	require.NoError(u.T, err)
	req.Header.Set("X-Request-Id", "cut")
	resp, err := (&http.Client{Timeout: rig.Patience}).Do(req)
	require.NoError(u.T, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// An explicit setting wins over the preset, and the engine decides which members
// count: Ollama does not read max_completion_tokens.
func TestEngineYieldsToSettings(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_ENGINE": "ollama", "USHER_ROUTES": "/v1/chat/completions", "USHER_HEALTH_PATH": "/health", "USHER_COST_POLICY": "enforce",
	})).Ready()
	require.Equal(t, "route_unknown", u.Do("POST", "/api/chat", s.Ticket().Flat(""), nil).Code())
	require.Equal(t, 200, u.Do("POST", "/v1/chat/completions", s.Ticket().Flat(`"max_completion_tokens":7`), nil).Status)
	m.Mu.Lock()
	defer m.Mu.Unlock()
	require.Contains(t, m.Seen[0].Body, `"max_tokens":256`)
}

// A toyEngine is an engine that publishes its load, works on a fixed number of
// requests at once and makes the others wait.
type toyEngine struct {
	*rig.Model
	figures          atomic.Pointer[string] // a format of running and waiting; nil: it has none
	properties       atomic.Pointer[string] // nil: it has none
	places           chan struct{}
	running, waiting atomic.Int64
}

func newToyEngine(t *testing.T, slots int, pace time.Duration) *toyEngine {
	e := &toyEngine{places: make(chan struct{}, slots)}
	e.Model = rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch figures, properties := e.figures.Load(), e.properties.Load(); {
		case r.URL.Path == "/metrics" && figures != nil:
			_, _ = fmt.Fprintf(w, *figures, e.running.Load(), e.waiting.Load())
			return
		case r.URL.Path == "/props" && properties != nil:
			_, _ = io.WriteString(w, *properties)
			return
		case r.Method == http.MethodGet:
			http.NotFound(w, r)
			return
		}
		e.waiting.Add(1)
		e.places <- struct{}{}
		e.waiting.Add(-1)
		e.running.Add(1)
		time.Sleep(pace)
		e.running.Add(-1)
		<-e.places
		_, _ = io.WriteString(w, "{}")
	})
	return e
}

func (e *toyEngine) tell(figures string) { e.figures.Store(&figures) }

// load keeps n requests going until the test ends.
func load(u *rig.Usher, s *rig.Signer, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.Public+"/v1/completions", bytes.NewReader(s.Ticket().Flat("")))
				if err != nil {
					return
				}
				if resp, err := http.DefaultClient.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	u.T.Cleanup(func() {
		cancel()
		clients.Wait()
	})
}

// The metrics of each engine that has any are shown while they can be read, and the
// number of slots moves, up or down, from 8 to what the engine can run.
func TestSlotsFollowTheEngine(t *testing.T) {
	t.Parallel()
	for name, text := range rig.Figures {
		for _, slots := range []int{3, 24} {
			if slots == 24 && name != "vllm" {
				continue // one that grows will do
			}
			t.Run(fmt.Sprint(name, "/", slots), func(t *testing.T) {
				t.Parallel()
				s, e := rig.NewSigner(t), newToyEngine(t, slots, 300*time.Millisecond)
				e.tell(text)
				u := rig.Start(t, rig.Settings(e.Model, s).With(rig.Env{"USHER_ENGINE": name})).Ready()
				require.Eventually(t, func() bool {
					return shows(u, "usher_engine_running") && shows(u, "usher_engine_waiting") && shows(u, "usher_engine_orphans") &&
						shows(u, "usher_engine_cache_ratio") == strings.Contains(text, "0.25")
				}, rig.Patience, 10*time.Millisecond)
				require.EqualValues(t, 8, u.Metric("usher_slots"))
				if name != "vllm" {
					full.Only(t) // the slots go by what was read, whoever said it
				}
				load(u, s, 3*slots)
				require.Eventually(t, func() bool {
					_, page := u.Get("/status.json")
					return math.Abs(u.Metric("usher_slots")-float64(slots)) <= 0.1*float64(slots) && strings.Contains(page, "as many as the model server ran while it had")
				}, 3*rig.Patience, 200*time.Millisecond) // it takes several readings, each with the engine full
			})
		}
	}
}

// shows reports whether /metrics has a series.
func shows(u *rig.Usher, series string) bool {
	_, text := u.Get("/metrics")
	return strings.Contains(text, "\n"+series+" ")
}

// llama.cpp states its slots whether or not it was started with its metrics on.
func TestStatedSlotsAreTaken(t *testing.T) {
	t.Parallel()
	s, e := rig.NewSigner(t), newToyEngine(t, 3, 0)
	e.properties.Store(new(`{"total_slots":3,"model_path":"m"}`))
	u := rig.Start(t, rig.Settings(e.Model, s).With(rig.Env{"USHER_ENGINE": "llamacpp"})).Ready()
	u.WaitMetric("usher_slots", 3)
	require.False(t, shows(u, "usher_engine_running"))
	u.WaitLine("the model server's figures cannot be read")
	_, page := u.Get("/status.json")
	require.Contains(t, page, "the model server states 3")
}

// An engine without metrics is ready all the same, shows none, and has as many slots
// as an unknown engine. A number of slots that is set stays.
func TestFiguresThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s, e := rig.NewSigner(t), newToyEngine(t, 3, 0)
	u := rig.Start(t, rig.Settings(e.Model, s).With(rig.Env{"USHER_ENGINE": "sglang"})).Ready()
	require.Contains(t, u.WaitLine("the model server's figures cannot be read"), "--enable-metrics")
	u.WaitMetric("usher_slots", 128)
	for _, name := range []string{"running", "waiting", "cache_ratio", "orphans"} {
		require.False(t, shows(u, "usher_engine_"+name), name)
	}
	e.tell(rig.Figures["sglang"])
	require.Eventually(t, func() bool { return shows(u, "usher_engine_running") }, rig.Patience, 10*time.Millisecond)
	u = rig.Start(t, rig.Settings(e.Model, s).With(rig.Env{"USHER_ENGINE": "sglang", "USHER_MAX_CONCURRENCY": "5"})).Ready()
	require.Eventually(t, func() bool { return shows(u, "usher_engine_running") }, rig.Patience, 10*time.Millisecond)
	require.EqualValues(t, 5, u.Metric("usher_slots"))
}

// Requests that an engine still runs for nobody show after ten seconds, in the metrics
// and in the verdict. A request that the engine counts as several is not taken for
// one.
func TestOrphansAreShown(t *testing.T) {
	full.Only(t)
	t.Parallel()
	s, e := rig.NewSigner(t), newToyEngine(t, 100, 16*time.Second)
	e.tell(strings.Replace(rig.Figures["vllm"], "%d", "%[1]d", 1))
	u := rig.Start(t, rig.Settings(e.Model, s).With(rig.Env{"USHER_ENGINE": "vllm"})).Ready()
	e.tell("vllm:num_requests_running 5\nvllm:num_requests_waiting %[2]d\n")
	go func() { // which is three of the five
		resp, err := http.Post("http://"+u.Public+"/v1/completions", "application/json", bytes.NewReader(s.Ticket().Flat(`"n":3,"max_tokens":1`)))
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	u.WaitMetric("usher_engine_orphans", 2)
	_, text := u.Get("/status.json")
	require.Contains(t, text, "The model server is running 2 requests that no client of Usher is waiting for")
}
