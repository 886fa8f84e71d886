package test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What each engine is known to serve, as an operator sees it who sets its name
// and nothing else but where it listens.
var engines = map[string]struct {
	routes []string
	health string
	stream string // one of the routes, and a stream there without its last word
	kind   string
	cut    string
}{
	"vllm": {
		[]string{"/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize"},
		"/health", "/v1/chat/completions", "text/event-stream", "data: {\"choices\":[]}\n\n",
	},
	"sglang": {
		[]string{"/generate", "/v1/completions", "/v1/chat/completions", "/v1/embeddings"},
		"/health", "/generate", "text/event-stream", "data: {\"text\":\"a\"}\n\n",
	},
	"tgi": {
		[]string{"/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"},
		"/health", "/generate_stream", "text/event-stream", "data:{\"generated_text\":null}\n\n",
	},
	"llamacpp": {
		[]string{"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/completion", "/tokenize", "/detokenize"},
		"/health", "/v1/messages", "text/event-stream", "event: ping\ndata: {\"type\":\"ping\"}\n\n",
	},
	"ollama": {
		[]string{"/api/generate", "/api/chat", "/api/embed", "/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"},
		"/api/version", "/api/chat", "application/x-ndjson", "{\"done\":false}\n",
	},
}

func TestEngineIsKnownByName(t *testing.T) {
	t.Parallel()
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigner(t)
			probed := make(chan string, 1024)
			m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
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
			u := start(t, settings(m, s).with(env{"USHER_ENGINE": name})).ready()
			for _, route := range e.routes {
				require.Equal(t, 200, u.do("POST", route, s.ticket().flat(""), nil).status, route)
			}
			require.Equal(t, "route_unknown", u.do("POST", "/mine", s.ticket().flat(""), nil).code())
			if e.health != "/health" { // which the stub answers by itself
				require.Equal(t, e.health, <-probed)
			}
			// A stream without its last word is a break: told, and cut.
			got, err := u.cutStream(e.stream, s.ticket().flat(""))
			require.Error(t, err, "a clean end")
			require.True(t, strings.HasPrefix(got, e.cut), got)
			require.Contains(t, got, "upstream_broken")
			require.Contains(t, u.waitLine(`"outcome":"upstream_broken"`), `"route":"`+e.stream+`"`)
		})
	}
}

// cutStream reads a stream to its end, with the error that it ends with.
func (u *usher) cutStream(route string, body []byte) (string, error) {
	u.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+u.public+route, strings.NewReader(string(body)))
	require.NoError(u.t, err)
	req.Header.Set("X-Request-Id", "cut")
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	require.NoError(u.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// A setting of one's own wins over the preset, and an engine's name says which
// members count: Ollama does not read max_completion_tokens.
func TestEngineYieldsToSettings(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{
		"USHER_ENGINE": "ollama", "USHER_ROUTES": "/v1/chat/completions", "USHER_HEALTH_PATH": "/health", "USHER_COST_POLICY": "enforce",
	})).ready()
	require.Equal(t, "route_unknown", u.do("POST", "/api/chat", s.ticket().flat(""), nil).code())
	require.Equal(t, 200, u.do("POST", "/v1/chat/completions", s.ticket().flat(`"max_completion_tokens":7`), nil).status)
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Contains(t, m.seen[0].body, `"max_tokens":256`)
}
