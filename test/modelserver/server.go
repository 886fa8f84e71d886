// Package modelserver is a toy model server for tests and the playground. It speaks
// enough of the APIs of Text Generation Inference, OpenAI, Anthropic, llama.cpp and
// Ollama to stand behind Usher, produces believable tokens at a believable pace, keeps
// exact records of what it was sent, and misbehaves on demand.
//
//	POST /generate, /generate_stream            Text Generation Inference
//	POST /v1/completions, /v1/chat/completions  OpenAI, streamed or not
//	POST /v1/responses                          OpenAI, streamed or not
//	POST /completion, /completions              llama.cpp, streamed or not
//	POST /v1/messages                           Anthropic, streamed or not
//	POST /api/generate, /api/chat               Ollama, streamed or not
//	GET  /health                                200 or 503, see SetHealthy
//	GET  /metrics                               its load, with Options.Engine
//
// The text depends only on the prompt, see Text. There are always exactly as many
// tokens as were asked for.
package modelserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/test/loopback"
)

// maxBody bounds a request body, in bytes.
const maxBody = 64 << 20

// Options are the options of a Server. The zero value makes a server on a free loopback
// port that answers without delay.
type Options struct {
	Network string // "tcp" (default) or "unix"
	Address string // a path for unix; default: a free port on loopback

	TimeToFirstToken time.Duration // from the request to the first token
	PerToken         time.Duration // between two tokens
	Jitter           float64       // each delay varies by up to this share of itself, 0 … 1
	Seed             uint64        // of the jitter

	DefaultMaxTokens int // for requests that state no limit; 0: 20

	// Keep is how many requests are remembered; the oldest are forgotten first.
	// 0: all; negative: none.
	Keep int

	// Engine, if not nil, makes the server behave like an inference engine under
	// load.
	Engine *Engine

	// Tap keeps every byte received on each connection, see Received.
	Tap bool

	// Early is called before the body of a request is read, Handler afterwards, both
	// for every path except /health. Both may be nil. See Hook.
	Early, Handler Hook

	// Health, if not nil, is called for /health in the same way.
	Health Hook
}

// A Hook answers a request in place of the server, or returns false to leave it to the
// server. It may hijack the connection. Unless it does, the request's context ends
// when the client leaves. Status, Script and Stall make common hooks.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// A Server is a toy model server, made with New. Its methods are safe for concurrent
// use, except that Start, Close and Kill must be called from one goroutine.
type Server struct {
	options   Options
	handler   atomic.Pointer[Hook]
	unhealthy atomic.Bool
	records   records
	bench     *bench // nil: no Engine

	addr     net.Addr
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup
	handling sync.WaitGroup
	ending   context.Context // ends when the server is closed
	end      context.CancelFunc

	mu       sync.Mutex
	stopping bool // no more handlers are started
	random   *rand.Rand
	conns    map[*conn]struct{} // open connections
	total    int                // connections so far
	tapped   []*conn            // all connections, with Options.Tap
}

// New makes a server; Start starts it.
func New(o Options) *Server {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Address == "" && o.Network == "tcp" {
		o.Address = net.JoinHostPort(loopback.Host(), "0")
	}
	if o.DefaultMaxTokens == 0 {
		o.DefaultMaxTokens = 20
	}
	s := &Server{options: o, random: rand.New(rand.NewPCG(o.Seed, 1)), conns: make(map[*conn]struct{})}
	s.records.init(o.Keep)
	if o.Engine != nil {
		s.bench = newBench(*o.Engine)
	}
	s.SetHandler(o.Handler)
	return s
}

func (s *Server) listen() (net.Listener, error) {
	if s.addr != nil && s.options.Network == "tcp" {
		return loopback.ListenAt(s.addr.String())
	}
	return net.Listen(s.options.Network, s.options.Address)
}

// Start listens and serves in the background. After Close or Kill it may be called
// again and listens at the same address.
func (s *Server) Start() error {
	inner, err := s.listen()
	if err != nil {
		return fmt.Errorf("model server: %w", err)
	}
	s.addr, s.listener = inner.Addr(), &listener{inner, s}
	s.ending, s.end = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:     http.HandlerFunc(s.serve),
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		BaseContext: func(net.Listener) context.Context { return s.ending },
	}
	s.mu.Lock()
	s.stopping = false
	s.mu.Unlock()
	s.serving.Go(func() { _ = s.http.Serve(s.listener) })
	return nil
}

// Addr returns the address that the server listens at. It is valid after Start.
func (s *Server) Addr() net.Addr { return s.addr }

// URL returns the server's URL: http://127.0.0.1:port or unix:/path.
func (s *Server) URL() string {
	if s.options.Network == "unix" {
		return "unix:" + s.addr.String()
	}
	return "http://" + s.addr.String()
}

// Close ends the server, closes every connection and waits for the handlers.
func (s *Server) Close() { s.stop(func(c *conn) { _ = c.Close() }) }

// Kill ends the server as a crash would: every connection is reset.
func (s *Server) Kill() { s.stop((*conn).reset) }

func (s *Server) stop(cut func(*conn)) {
	if s.http == nil {
		return
	}
	// Close the listener first, so that no new connections come, then the connections,
	// before http.Server closes them in its own way.
	_ = s.listener.Close()
	s.serving.Wait()
	s.mu.Lock()
	s.stopping = true
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range open {
		cut(c)
	}
	s.end() // only now: what handlers still write must not get out
	_ = s.http.Close()
	s.handling.Wait()
	s.http = nil
}

// SetHealthy sets what /health answers from now on.
func (s *Server) SetHealthy(healthy bool) { s.unhealthy.Store(!healthy) }

// SetHandler replaces Options.Handler; nil means no hook.
func (s *Server) SetHandler(h Hook) { s.handler.Store(&h) }

// serve records one request and passes it to the hooks, then to the model.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.handling.Add(1)
	s.mu.Unlock()
	defer s.handling.Done()
	if r.URL.Path == "/health" {
		s.health(w, r)
		return
	}
	if s.bench != nil && r.Method == http.MethodGet && r.URL.Path == "/metrics" {
		s.bench.figures(w)
		return
	}
	c := r.Context().Value(connKey{}).(*conn)
	record := s.records.begin(r, c.number)
	defer record.finish()
	r = r.WithContext(context.WithValue(r.Context(), recordKey{}, record))

	if s.options.Early != nil && s.options.Early(w, r) {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	record.received(body)
	if err != nil {
		var large *http.MaxBytesError
		if !errors.As(err, &large) {
			record.cancelled() // the client closed the connection
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	defer s.watch(r.Context(), record)()

	if h := *s.handler.Load(); h != nil && h(w, r) {
		return
	}
	if s.bench != nil {
		s.bench.work(w, r, s.ending, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, body) })
		return
	}
	s.answer(w, r, body)
}

// watch records when ctx, the request's context, ends: once the body has been read,
// net/http ends it when the client leaves. The function that watch returns ends the
// watching. When it returns, a hang-up noticed until then is in the record.
func (s *Server) watch(ctx context.Context, record *record) (end func()) {
	note := func() {
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if !stopping { // otherwise the server closed it, not the client
			record.cancelled()
		}
	}
	noted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(noted)
		note()
	})
	return func() {
		if !stop() {
			<-noted
		} else if ctx.Err() != nil {
			note()
		}
	}
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	s.records.probes.Add(1)
	switch {
	case s.options.Health != nil && s.options.Health(w, r):
	case s.unhealthy.Load():
		writeError(w, http.StatusServiceUnavailable, "unhealthy", "healthcheck")
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// answer answers as the model.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	serve := map[string]func(http.ResponseWriter, *http.Request, []byte){
		"/generate": s.generate, "/generate_stream": s.generateStream,
		"/v1/completions": s.completions, "/v1/chat/completions": s.chat, "/v1/responses": s.responses,
		"/v1/messages": s.messages,
		"/completion":  s.llamaCompletion, "/completions": s.llamaCompletion,
		"/api/generate": s.ollama, "/api/chat": s.ollama,
	}[r.URL.Path]
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if isJSON(w, r) {
		serve(w, r, body)
	}
}
