// Package upstream is the client of the model server. It keeps connections, probes
// them before use and can cancel them from any goroutine; it sends a request at
// most once and reads the response as it comes.
//
// It does not build on fasthttp's client. That one sends a request again on its own
// judgement, cannot be told to close a connection from another goroutine while it
// is pooled or not, rewrites header fields (Date, Set-Cookie's place), and reads a
// response of declared length whole before it returns. What would remain of it, a
// list of idle connections, is less work than guarding against the rest.
package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// Errors of this package; what is returned wraps one of them with what
// happened. Their texts never hold a byte of a message.
var (
	// ErrUnreachable: no connection could be made. Nothing was sent.
	ErrUnreachable = errors.New("model server cannot be reached")
	// ErrBroken: the model server broke off, or what it sent is not HTTP/1.
	ErrBroken = errors.New("model server broke off")
	// ErrTimeout: no response head, or no next piece of the body, in time.
	ErrTimeout = errors.New("model server did not answer in time")
	// ErrCanceled: Cancel was called.
	ErrCanceled = errors.New("call was cancelled")
	// ErrRequest: the request cannot be written as HTTP. Nothing was sent.
	ErrRequest = errors.New("request is not HTTP")
)

// Detail returns what happened, for a log; "" for errors of other packages.
func Detail(err error) string {
	for _, known := range []error{ErrUnreachable, ErrBroken, ErrTimeout, ErrRequest} {
		if errors.Is(err, known) {
			return err.Error()
		}
	}
	return ""
}

// Options are those of a Client. Durations and sizes of 0 mean the default;
// negative ones are refused.
type Options struct {
	Network       string // "tcp" or "unix"
	Address       string // host:port, or a path
	Host          string // the Host header
	PathPrefix    string // before every path: "" or "/x"
	Authorization string // sent instead of the client's; "": none is sent
	WithoutOrigin bool   // a client's Origin is not sent: several servers refuse origins, although CORS is not theirs to judge

	ConnectTimeout  time.Duration // to make a connection; 2 s
	ResponseTimeout time.Duration // from the first byte sent to the final response head; 10 min
	IdleTimeout     time.Duration // silence between two pieces of a body, and up to an eighth more; 5 min
	KeepIdle        time.Duration // how long an idle connection is kept, at most; 4 s; KeepNone: each request has a new one
	MaxHeadBytes    int           // of a response head, and of its trailer section; 64 KiB
	ReadBufferSize  int           // bytes per read; held only while there is something in it; 16 KiB
}

// KeepNone means no time at all, because 0 means the default.
const KeepNone time.Duration = -1

// check fills in the defaults.
func (o *Options) check() error {
	for _, d := range []struct {
		name  string
		value *time.Duration
		none  time.Duration
	}{
		{"connect time-out", &o.ConnectTimeout, 2 * time.Second},
		{"response time-out", &o.ResponseTimeout, 10 * time.Minute},
		{"idle time-out", &o.IdleTimeout, 5 * time.Minute},
		{"idle time kept", &o.KeepIdle, 4 * time.Second},
	} {
		if *d.value < 0 && (d.value != &o.KeepIdle || *d.value != KeepNone) {
			return fmt.Errorf("upstream: %s of %s", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.none
		}
	}
	if o.MaxHeadBytes < 0 || o.ReadBufferSize < 0 || o.MaxHeadBytes > 1<<30 {
		return fmt.Errorf("upstream: head limit of %d, read buffer of %d bytes", o.MaxHeadBytes, o.ReadBufferSize)
	}
	if o.MaxHeadBytes == 0 {
		o.MaxHeadBytes = 64 << 10
	}
	if o.ReadBufferSize == 0 {
		o.ReadBufferSize = 16 << 10
	}
	switch {
	case o.Network != "tcp" && o.Network != "unix", o.Address == "":
		return fmt.Errorf("upstream: no address of a model server: %q %q", o.Network, o.Address)
	case o.Host == "" || !http1.Visible([]byte(o.Host)):
		return fmt.Errorf("upstream: %q is no Host", o.Host)
	case !http1.Visible([]byte(o.PathPrefix)) || o.PathPrefix != "" && o.PathPrefix[0] != '/':
		return fmt.Errorf("upstream: %q is no path", o.PathPrefix)
	case strings.ContainsAny(o.Authorization, "\r\n\x00"):
		return errors.New("upstream: Authorization holds a control byte")
	}
	return nil
}

// Stats are what a Client has done.
type Stats struct {
	Dials    uint64 // connections made
	Reused   uint64 // kept connections taken for a request
	Replaced uint64 // kept connections that turned out dead
	Idle     int    // connections kept now
}
