// Package front is the HTTP/1.1 side that faces the clients. It reads heads and bodies,
// refuses what HTTP does not allow, and writes answers; it does not know what they say.
// It is the only importer of fasthttp, which accepts connections and parses.
package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// Options configure a Server.
type Options struct {
	// Serve answers the request that was read on c, or refuses it with err: a *Fault,
	// ErrCrowded, or ErrGone if the client broke off. It is called on the connection's
	// goroutine. Before it returns, it must have begun an answer or called CloseAfter.
	Serve func(c *Conn, err error)
	// HealthCheck answers GET and HEAD of "/health" and "/ping"; it returns false for
	// other paths.
	HealthCheck func(path string) (Answer, bool)
	// Methods lists the methods of a path, as the field Allow does; "" if the path has
	// none.
	Methods func(path []byte) string
	// Closing reports whether every connection is to end with its next answer.
	Closing func() bool
	CORS    CORS
	Trusted proxy.Trusted // which proxies to believe about clients
	TLS     *tls.Config   // nil: plain
	// Panicked is told of each panic that was recovered, on any goroutine.
	Panicked func(fault any, stack []byte)
	// Debug is told what fasthttp logs, as format strings without their arguments, which
	// may hold bytes off the wire.
	Debug func(event string)

	HandshakeTimeout time.Duration // of TLS, from when the connection was accepted
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

// New makes a Server, but starts nothing.
func New(o Options) *Server {
	s := &Server{o: o}
	s.handshaker.config, s.handshaker.timeout = o.TLS, o.HandshakeTimeout
	s.handshaker.crew.panicked = s.panicked
	// Half of the processors are left to established connections.
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
		Concurrency:           2*o.MaxConnections + 1, // the listener limits them; some count here for a moment longer
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
		Logger:                quietLogger{o.Debug},
	}
	return s
}

// Serve serves the connections of ln until Shutdown, which may have been called before.
func (s *Server) Serve(ln *hangup.Listener) error {
	if err := s.lending.begin(s.idleTimeout()); err != nil {
		return err
	}
	if s.lending.over.Load() {
		return ln.Close()
	}
	return s.http.Serve(&acceptor{ln, s})
}

// Shutdown closes the listener and the idle connections, has the others close after their
// answer, and waits for them until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.lending.turnAway()
	defer s.handshaker.crew.end()
	err := s.http.ShutdownWithContext(ctx)
	s.lending.end(ctx)
	return err
}

// idleTimeout returns how long a connection may wait for its next request.
func (s *Server) idleTimeout() time.Duration { return cmp.Or(s.o.IdleTimeout, s.o.ReadTimeout) }

// quietLogger drops the arguments of fasthttp's messages.
type quietLogger struct{ debug func(string) }

func (l quietLogger) Printf(format string, _ ...any) {
	if l.debug != nil {
		l.debug(format)
	}
}

// headReceived makes fasthttp see every request without a body, because the handler reads
// it from the connection, and without an expectation, which the connection meets when the
// body is read.
func headReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	return fasthttp.RequestConfig{}
}

// serve is fasthttp's handler.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := (*Conn)(ctx.Conn().(*wire))
	defer (*serving)(c).end()
	crowded := (*serving)(c).begin(ctx)
	if !c.state.whole { // the guard has given up on a head that fasthttp accepts
		c.CloseAfter()
		s.o.Serve(c, errHeadTooLarge)
		return
	}
	if c.Head.fault != nil {
		s.o.Serve(c, c.Head.fault)
		return
	}
	if !endsKnown(&c.Head) {
		c.CloseAfter()
	}
	if answer, ok := s.healthOrPreflight(&c.Head); ok {
		_ = c.Answer(&answer, Own{})
		return
	}
	s.o.Serve(c, crowded)
}

// healthOrPreflight answers health checks, pings and CORS preflights, which are neither
// logged nor counted as requests.
func (s *Server) healthOrPreflight(h *Head) (Answer, bool) {
	if s.o.CORS.isPreflight(h) {
		return s.o.CORS.preflight(h, s.o.Methods(h.Path)), true
	}
	if !h.Is("GET") && !h.Is("HEAD") {
		return Answer{}, false
	}
	return s.o.HealthCheck(string(h.Path))
}

// serveFault answers what fasthttp could not read as a request. Its error text may hold
// bytes off the wire, and is dropped.
func (s *Server) serveFault(ctx *fasthttp.RequestCtx, err error) {
	c := (*Conn)(ctx.Conn().(*wire))
	if !c.state.spoke {
		// No byte of a request arrived: a port scan, a preconnected socket or a failed
		// TLS handshake. There is nobody to answer.
		_ = c.Conn.Close()
		return
	}
	defer (*serving)(c).end()
	if !c.state.whole {
		c.Head.parse() // as much as arrived
	}
	_ = (*serving)(c).begin(ctx)
	c.CloseAfter()
	if c.state.whole && c.Head.fault != nil {
		s.o.Serve(c, c.Head.fault)
		return
	}
	if c.state.failed != nil {
		err = c.state.failed // fasthttp may have replaced it
	}
	s.o.Serve(c, faultOf(err, c.guard.inFirstLine()))
}

var errHeadTooLarge = &Fault{Status: fasthttp.StatusRequestHeaderFieldsTooLarge, Reason: "The request head is too large"}

// faultOf translates an error of fasthttp's; ErrGone if the client broke off.
func faultOf(err error, firstLine bool) error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small) && firstLine:
		return &Fault{Status: fasthttp.StatusRequestURITooLong, Reason: "The request target is too long"}
	case errors.As(err, &small):
		return errHeadTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Fault{Status: fasthttp.StatusRequestTimeout, Reason: "The request did not arrive in time"}
	case isBreak(err):
		return ErrGone
	}
	return &Fault{Status: fasthttp.StatusBadRequest, Reason: "The request is not acceptable HTTP/1.1"}
}

// An acceptor hands connections to fasthttp.
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
