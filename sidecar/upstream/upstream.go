// Package upstream is the client of the model server. It keeps connections, probes them
// before use and can cancel them from any goroutine; it sends a request at most once and
// reads the response as it arrives.
//
// It does not build on fasthttp's client. That decides on its own to send a request
// again, cannot be told from another goroutine to close a connection whether or not it is
// pooled, rewrites header fields (Date, the position of Set-Cookie), and reads a response
// of declared length whole before it returns. All that would remain of it is a list of
// idle connections, which is less work than guarding against the rest.
package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// Errors of this package. A returned error wraps one of them and says what happened.
// Their texts never contain a byte of a message.
var (
	// ErrUnreachable: no connection could be made. Nothing was sent.
	ErrUnreachable = errors.New("model server cannot be reached")
	// ErrBroken: the model server broke off, or did not send HTTP/1.
	ErrBroken = errors.New("model server broke off")
	// ErrTimeout: no response head, or no next piece of the body, in time.
	ErrTimeout = errors.New("model server did not answer in time")
	// ErrCanceled: Cancel was called.
	ErrCanceled = errors.New("call was cancelled")
	// ErrRequest: the request cannot be written as HTTP. Nothing was sent.
	ErrRequest = errors.New("request is not HTTP")
)

// Detail returns the text of one of this package's errors, for a log; "" for ErrCanceled
// and errors of other packages.
func Detail(err error) string {
	for _, known := range []error{ErrUnreachable, ErrBroken, ErrTimeout, ErrRequest} {
		if errors.Is(err, known) {
			return err.Error()
		}
	}
	return ""
}

// Options are the options of a Client. Durations and sizes of 0 mean the default, which
// follows the unit; negative ones are refused.
type Options struct {
	Network       string // "tcp" or "unix"
	Address       string // host:port, or a path
	Host          string // the Host header
	PathPrefix    string // before every path: "" or "/x"
	Authorization string // sent instead of the client's; "": neither is sent
	WithoutOrigin bool   // a client's Origin is not sent: several servers refuse origins, although Usher handles CORS

	ConnectTimeout  time.Duration // to make a connection; 2 s
	ResponseTimeout time.Duration // from the first byte sent to the final response head; 10 min
	IdleTimeout     time.Duration // silence between two pieces of a body, and up to an eighth more; 5 min
	KeepIdle        time.Duration // how long an idle connection is kept, at most; 4 s; KeepNone: each request gets a new connection
	MaxHeadBytes    int           // of a response head, and of a trailer section; 64 KiB
	ReadBufferSize  int           // bytes per read; a buffer is held only while it is not empty; 16 KiB
}

// KeepNone means not to keep connections, because 0 means the default.
const KeepNone time.Duration = -1

// check validates the options and fills in the defaults.
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
		return fmt.Errorf("upstream: no model server address: %q %q", o.Network, o.Address)
	case o.Host == "" || !http1.Visible([]byte(o.Host)):
		return fmt.Errorf("upstream: %q is not a valid Host", o.Host)
	case !http1.Visible([]byte(o.PathPrefix)) || o.PathPrefix != "" && o.PathPrefix[0] != '/':
		return fmt.Errorf("upstream: %q is not a valid path", o.PathPrefix)
	case strings.ContainsAny(o.Authorization, "\r\n\x00"):
		return errors.New("upstream: Authorization holds a control byte")
	}
	return nil
}

// Stats are counts of what a Client has done.
type Stats struct {
	Dials    uint64 // connections made
	Reused   uint64 // kept connections taken for a request
	Replaced uint64 // kept connections that turned out dead
	Idle     int    // connections kept now
}
