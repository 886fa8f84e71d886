package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// hangups observes at the model servers what happens to requests whose clients leave.
type hangups struct {
	mu   sync.Mutex
	seen map[string]*sighting // by X-Request-Id
}

// A sighting is one request, as seen by a model server.
type sighting struct{ arrived, ended chan struct{} }

// expect announces a request that is about to be sent.
func (h *hangups) expect(id string) *sighting {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &sighting{make(chan struct{}), make(chan struct{})}
	h.seen[id] = s
	return s
}

func (h *hangups) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seen, id)
}

// Hook is a modelserver.Hook that leaves every request to the model. net/http ends the
// context when the client leaves, or when the answer is complete.
func (h *hangups) Hook(_ http.ResponseWriter, r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.seen[r.Header.Get("X-Request-Id")]; s != nil {
		close(s.arrived)
		context.AfterFunc(r.Context(), func() { close(s.ended) })
	}
	return false
}

// hangUp leaves before the head of the answer, or in the middle of a stream, with far
// more tokens to come than anybody would wait for.
func hangUp(a *attempt) error {
	tokens := 1000
	if d := a.options.perToken; d > 0 {
		tokens = min(100_000, int(10*hangupPatience/d)+1)
	}
	t, err := a.route(tokens)
	if err != nil {
		return err
	}
	body, err := a.style.body(t.raw, a.prompt(), tokens)
	if err != nil {
		return err
	}
	if err := pause(a.ctx, a.delay); err != nil {
		return err
	}
	id := fmt.Sprintf("hangup-%d-%d", a.number, t.Reqnum)
	seen := a.hangups.expect(id)
	defer a.hangups.forget(id)
	got, err := a.leave(t.URL, body, id, seen)
	if err != nil {
		return a.whole(t.URL, got)
	}
	timer := time.NewTimer(a.hangupPatience)
	defer timer.Stop()
	select {
	case <-seen.ended:
		return nil
	case <-timer.C:
		return errors.New(a.style.path + ": the client hung up, but the model server did not stop")
	}
}

// leave makes a call and hangs up once the request has reached the model server or, if
// the answer is a stream, the first piece has come back. Its error says that the call
// ended before that.
func (a *attempt) leave(url string, body []byte, id string, seen *sighting) (answer, error) {
	ctx, hangUp := context.WithCancel(a.ctx)
	defer hangUp()
	began := make(chan struct{})
	done := make(chan answer, 1)
	go func() {
		done <- post(context.WithValue(ctx, beganKey{}, began), &a.http, url, a.style, body, http.Header{"X-Request-Id": {id}})
	}()
	moment := seen.arrived
	if a.style.stream {
		moment = began
	}
	select {
	case <-moment:
		hangUp()
		<-done
		return answer{}, nil
	case got := <-done: // already: a model without delays is that fast
		return got, got.whole()
	}
}

// beganKey is the context key of a channel that is closed when the first byte of an
// answer with status 200 has come.
type beganKey struct{}
