package modelserver

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Request is the record of one request other than for /health. The time of
// something that has not happened is zero.
type Request struct {
	Number     int // in order of arrival, from 0
	Connection int // in order of arrival, from 1
	Method     string
	Target     string // as on the request line
	Proto      string
	Host       string
	Header     http.Header
	// TransferEncoding and ContentLength say how the body was framed. The length is -1
	// if it was not stated.
	TransferEncoding []string
	ContentLength    int64
	Body             []byte

	Arrived     time.Time // head read
	Received    time.Time // body read
	CancelledAt time.Time // client closed the connection before the answer's end
	Finished    time.Time // handler done
}

// ID returns the request's X-Request-Id.
func (r Request) ID() string { return r.Header.Get("X-Request-Id") }

// records hold the requests so far.
type records struct {
	keep   int
	probes atomic.Int64

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	kept      []*record
	count     int
	inFlight  int
	highWater int
}

// A record is a Request that is still being filled in.
type record struct {
	records *records
	request Request // under records.mu
}

func (s *records) init(keep int) {
	s.keep = keep
	s.changed = make(chan struct{})
}

// change makes a change and wakes everyone who waits for one.
func (s *records) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *records) begin(r *http.Request, connection int) *record {
	x := &record{records: s, request: Request{
		Connection: connection, Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Header: r.Header.Clone(), TransferEncoding: r.TransferEncoding, ContentLength: r.ContentLength,
		Arrived: time.Now(),
	}}
	s.change(func() {
		x.request.Number = s.count
		s.count++
		s.inFlight++
		s.highWater = max(s.highWater, s.inFlight)
		if s.keep >= 0 {
			s.kept = append(s.kept, x)
		}
		if s.keep > 0 && len(s.kept) > s.keep {
			s.kept = slices.Delete(s.kept, 0, len(s.kept)-s.keep)
		}
	})
	return x
}

func (x *record) received(body []byte) {
	x.records.change(func() { x.request.Body, x.request.Received = body, time.Now() })
}

func (x *record) cancelled() {
	x.records.change(func() {
		if x.request.CancelledAt.IsZero() && x.request.Finished.IsZero() {
			x.request.CancelledAt = time.Now()
		}
	})
}

func (x *record) finish() {
	x.records.change(func() {
		x.request.Finished = time.Now()
		x.records.inFlight--
	})
}

func (s *records) snapshot() ([]Request, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.kept))
	for i, x := range s.kept {
		all[i] = x.request
	}
	return all, s.changed
}

// Requests returns the records that are kept, in order of arrival.
func (s *Server) Requests() []Request {
	all, _ := s.records.snapshot()
	return all
}

// Find returns the record of the latest request with this X-Request-Id.
func (s *Server) Find(id string) (Request, bool) {
	all := s.Requests()
	for _, r := range slices.Backward(all) {
		if r.ID() == id {
			return r, true
		}
	}
	return Request{}, false
}

// Await waits until the records are as wanted, checking after every change, and
// returns them. Its error is that of ctx.
func (s *Server) Await(ctx context.Context, wanted func([]Request) bool) ([]Request, error) {
	for {
		all, changed := s.records.snapshot()
		if wanted(all) {
			return all, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

// Count returns how many requests there have been, forgotten ones included.
func (s *Server) Count() int {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.records.count
}

// InFlight returns how many requests are being served, and the most that ever were at
// once.
func (s *Server) InFlight() (now, highWater int) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.records.inFlight, s.records.highWater
}

// Probes returns how many requests for /health there have been.
func (s *Server) Probes() int { return int(s.records.probes.Load()) }
