package rig

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/stretchr/testify/require"
)

// Steps is a model server that sends one event each time the test says so, and
// ends when told.
type Steps struct {
	Events chan string // an event; closed: the clean end
	kill   chan struct{}
}

func NewSteps() *Steps { return &Steps{Events: make(chan string), kill: make(chan struct{})} }

func (s *Steps) Serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case event, ok := <-s.Events:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		case <-s.kill:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
}

// Open sends a request and returns as soon as the head of its answer has arrived.
func (u *Usher) Open(ctx context.Context, path string, body []byte) *http.Response {
	u.T.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+u.Public+path, bytes.NewReader(body))
	require.NoError(u.T, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(u.T, err)
	return resp
}
