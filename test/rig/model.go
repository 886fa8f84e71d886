package rig

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A Model is a stub model server that remembers what reached it.
type Model struct {
	*httptest.Server
	Mu      sync.Mutex
	Seen    []Arrival
	Respond http.HandlerFunc // nil: a fixed answer
	Gone    chan string      // ids of requests whose connection closed early
	Sick    atomic.Bool      // not healthy
	Began   atomic.Int64     // requests of which the head has come
}

// An Arrival is one request as the model server got it.
type Arrival struct {
	Method, Target, Body string
	Header               http.Header
}

func NewModel(t testing.TB, respond http.HandlerFunc) *Model {
	t.Helper()
	m := &Model{Respond: respond, Gone: make(chan string, 1024)}
	m.Server = ServeAlone(t, m.Serve)
	return m
}

func (m *Model) Serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		if m.Sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	m.Began.Add(1)
	body, _ := io.ReadAll(r.Body)
	m.Mu.Lock()
	m.Seen = append(m.Seen, Arrival{r.Method, r.RequestURI, string(body), r.Header.Clone()})
	m.Mu.Unlock()
	if m.Respond != nil {
		m.Respond(w, r)
	} else {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	if r.Context().Err() != nil {
		m.Gone <- r.Header.Get("X-Request-Id")
	}
}

// ServeAlone starts a server at an address that stays its own when it is closed.
func ServeAlone(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	ln, err := loopback.Listen()
	require.NoError(t, err)
	server := &httptest.Server{Listener: ln, Config: &http.Server{
		Handler: handler,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}}
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

type connKey struct{}

// ConnOf returns the connection on which a request came to a server of this package.
func ConnOf(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(net.Conn) }

// Arrivals returns what has reached the model server so far.
func (m *Model) Arrivals() []Arrival {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return append([]Arrival(nil), m.Seen...)
}

// Settings are those of an usher in front of m that trusts s.
func Settings(m *Model, s *Signer) Env {
	return Env{
		"USHER_ENDPOINT": Endpoint, "USHER_WORKER_URL": URL,
		"USHER_PUBLIC_KEY": s.Public(), "USHER_UPSTREAM_URL": m.URL,
	}
}
