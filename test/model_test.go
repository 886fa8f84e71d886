package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// A model is a stub model server that remembers what reached it.
type model struct {
	*httptest.Server
	mu      sync.Mutex
	seen    []arrival
	respond http.HandlerFunc // nil: a fixed answer
	gone    chan string      // ids of requests whose connection closed early
	sick    atomic.Bool      // not healthy
}

// An arrival is one request as the model server got it.
type arrival struct {
	method, target, body string
	header               http.Header
}

func newModel(t testing.TB, respond http.HandlerFunc) *model {
	t.Helper()
	m := &model{respond: respond, gone: make(chan string, 1024)}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(func() {
		m.CloseClientConnections()
		m.Close()
	})
	return m
}

func (m *model) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		if m.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.seen = append(m.seen, arrival{r.Method, r.RequestURI, string(body), r.Header.Clone()})
	m.mu.Unlock()
	if m.respond != nil {
		m.respond(w, r)
	} else {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	if r.Context().Err() != nil {
		m.gone <- r.Header.Get("X-Request-Id")
	}
}

// arrivals returns what has reached the model server so far.
func (m *model) arrivals() []arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]arrival(nil), m.seen...)
}

// settings are those of an usher in front of m that trusts s.
func settings(m *model, s *signer) env {
	return env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": testURL,
		"USHER_PUBLIC_KEY": s.public(), "USHER_UPSTREAM_URL": m.URL,
	}
}
