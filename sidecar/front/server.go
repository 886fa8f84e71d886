// Package front is the HTTP/1.1 side towards the clients: what did the client
// say, and how is it told. It reads heads and bodies, refuses what HTTP does not
// allow, and writes answers; what the answer is, it does not know. It is the only
// importer of fasthttp, which parses and accepts.
package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// Options are what a Server needs.
type Options struct {
	// Serve answers the request that was read on c, or refuses it with err: a
	// *Fault, ErrCrowded, or ErrGone where the client broke off. It is called on the
	// connection's goroutine, and must have begun an answer, or called CloseAfter,
	// when it returns.
	Serve func(c *Conn, err error)
	// Aside answers GET and HEAD of the small paths beside the routes, "/health"
	// and "/ping"; it reports false for what it does not serve.
	Aside func(path string) (Answer, bool)
	// Methods lists those that a path has, as the field Allow does; "" for a path
	// that has none.
	Methods func(path []byte) string
	// Closing reports whether every connection ends with its next answer.
	Closing func() bool
	CORS    CORS
	Trusted proxy.Trusted // whose word on clients is taken
	TLS     *tls.Config   // nil: plain
	// Panicked hears of each fault of ours that was recovered, on any goroutine.
	Panicked func(fault any, stack []byte)
	// Debug hears what fasthttp has to say, without what it would fill in, which
	// may hold what came off the wire.
	Debug func(event string)

	HandshakeTimeout time.Duration // of TLS, from the acceptance on
	ReadTimeout      time.Duration // of a head, and of a body
	IdleTimeout      time.Duration // between two requests
	MaxConnections   int
}

// A Server serves clients. Make it with New.
type Server struct {
	o          Options
	http       fasthttp.Server
	handshaker handshaker
	lending    lending
}

// New makes a Server, and starts nothing.
func New(o Options) *Server {
	s := &Server{o: o}
	s.handshaker.config, s.handshaker.timeout = o.TLS, o.HandshakeTimeout
	// Half of the processors are left to those who are connected.
	s.handshaker.turns = newTurns(max(1, runtime.GOMAXPROCS(0)/2), mostWaiting)
	s.http = fasthttp.Server{
		Handler:               s.serve,
		ErrorHandler:          s.serveFault,
		HeaderReceived:        headReceived,
		ConnState:             lendOut,
		ReduceMemoryUsage:     true, // no buffer is kept while a handler runs, nor between two requests
		ReadBufferSize:        MaxHead,
		WriteBufferSize:       4 << 10,
		ReadTimeout:           o.ReadTimeout,
		IdleTimeout:           o.IdleTimeout,
		Concurrency:           2*o.MaxConnections + 1, // the listener limits them; here some count for a moment longer
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
		Logger:                quietLogger{o.Debug},
	}
	return s
}

// Serve serves the connections of ln until Shutdown.
func (s *Server) Serve(ln *hangup.Listener) error {
	if err := s.lending.begin(cmp.Or(s.o.IdleTimeout, s.o.ReadTimeout)); err != nil {
		return err
	}
	return s.http.Serve(&acceptor{ln, s})
}

// Shutdown closes the listener and the idle connections, has the others close
// after their answer, and waits for that until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.lending.turnAway()
	defer s.handshaker.crew.end()
	err := s.http.ShutdownWithContext(ctx)
	s.lending.end(ctx)
	return err
}

// Open is how many connections there are.
func (s *Server) Open() int {
	return int(s.http.GetOpenConnectionsCount()) + int(s.lending.lent.Load())
}

// quietLogger keeps what fasthttp would fill in out of its words.
type quietLogger struct{ debug func(string) }

func (l quietLogger) Printf(format string, _ ...any) {
	if l.debug != nil {
		l.debug(format)
	}
}

// headReceived makes every request one without a body for fasthttp, which the
// handler reads from the connection, and one that expects nothing, which the
// connection sees to when the body is read.
func headReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	return fasthttp.RequestConfig{}
}

// serve is fasthttp's handler.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := (*Conn)(ctx.Conn().(*wire))
	defer c.end()
	crowded := c.beginServing(ctx)
	if c.Head.fault != nil {
		s.o.Serve(c, c.Head.fault)
		return
	}
	if !c.Head.endsKnown() {
		c.CloseAfter()
	}
	if answer, ok := s.aside(&c.Head); ok {
		_ = c.Answer(&answer, Own{})
		return
	}
	s.o.Serve(c, crowded)
}

// beginServing hands the connection to its handler. The error is why it may not be
// served.
func (c *Conn) beginServing(ctx *fasthttp.RequestCtx) error {
	c.ctx = ctx
	// Makes fasthttp write after each request although the next one is here, so
	// that it never holds back more than one.
	_ = ctx.SetWriteDeadline(time.Now())
	return c.findClient()
}

// end takes the connection back, unless it is lent, also from a handler that
// panicked.
func (c *Conn) end() {
	if fault := recover(); fault != nil {
		c.server.panicked(fault)
		c.Reset()
	}
	if c.begin != nil {
		c.ctx = nil
		return
	}
	c.finish()
}

// finish ends the serving of a request.
func (c *Conn) finish() {
	if c.Closes() {
		c.CloseAfter()
	}
	c.stream = nil
	if c.state.last || c.guard.inBody() {
		c.Linger() // the client may be sending the rest, or its next request
	}
	if c.state.onBehalf {
		c.proxied.Count(netip.Addr{})
		c.state.onBehalf = false
	}
	c.ReleaseHead()
	c.ctx = nil
}

// aside answers health, ping and CORS preflights; they are no requests in the
// sense of log and metrics.
func (s *Server) aside(h *Head) (Answer, bool) {
	if s.o.CORS.isPreflight(h) {
		return s.o.CORS.preflight(h, s.o.Methods(h.Path)), true
	}
	if !h.Is("GET") && !h.Is("HEAD") {
		return Answer{}, false
	}
	return s.o.Aside(string(h.Path))
}

// serveFault answers what fasthttp could not read as a request. Its error text
// may hold what came off the wire and goes nowhere.
func (s *Server) serveFault(ctx *fasthttp.RequestCtx, err error) {
	c := (*Conn)(ctx.Conn().(*wire))
	if !c.state.spoke {
		// Nothing of a request ever came: a port scan, a preconnected socket or
		// a failed TLS handshake. There is nobody to answer.
		_ = c.Conn.Close()
		return
	}
	defer c.end()
	if !c.state.whole {
		c.Head.parse() // what there is
	}
	_ = c.beginServing(ctx)
	c.CloseAfter()
	if c.state.whole && c.Head.fault != nil {
		s.o.Serve(c, c.Head.fault)
		return
	}
	if c.state.failed != nil {
		err = c.state.failed // fasthttp may have made something else of it
	}
	s.o.Serve(c, faultOf(err, c.guard.inFirstLine()))
}

// faultOf makes a fault of fasthttp's errors; ErrGone when the client broke off.
func faultOf(err error, firstLine bool) error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small) && firstLine:
		return &Fault{Status: fasthttp.StatusRequestURITooLong, Reason: "The request target is too long"}
	case errors.As(err, &small):
		return &Fault{Status: fasthttp.StatusRequestHeaderFieldsTooLarge, Reason: "The request head is too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Fault{Status: fasthttp.StatusRequestTimeout, Reason: "The request did not arrive in time"}
	case isBreak(err):
		return ErrGone
	}
	return &Fault{Status: fasthttp.StatusBadRequest, Reason: "The request is not acceptable HTTP/1.1"}
}

// An acceptor gives fasthttp the connections it serves.
type acceptor struct {
	*hangup.Listener
	server *Server
}

// Accept implements net.Listener.
func (a *acceptor) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	watched := hangup.From(c)
	proxied := newProxiedConn(watched, a.server.o.Trusted)
	if proxied != nil {
		c = proxied
	}
	client := newConn(a.server, c, watched)
	client.proxied = proxied
	if a.server.o.TLS != nil {
		client.Conn = newSecureConn(c, watched, &a.server.handshaker)
	}
	return (*wire)(client), nil
}
