package test

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/stretchr/testify/require"
)

// steps is a model server that sends one event each time the test says so, and
// ends when told.
type steps struct {
	send chan string // an event; closed: the clean end
	kill chan struct{}
}

func newSteps() *steps { return &steps{send: make(chan string), kill: make(chan struct{})} }

func (s *steps) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case event, ok := <-s.send:
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

// open sends a request and returns as soon as its head is here.
func (u *usher) open(ctx context.Context, path string, body []byte) *http.Response {
	u.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+u.public+path, bytes.NewReader(body))
	require.NoError(u.t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(u.t, err)
	return resp
}
