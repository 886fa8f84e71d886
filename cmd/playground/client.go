package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A client asks the autoscaler for a route and calls the worker it names, as
// the documented clients do, in every form and on every route in turn.
type client struct {
	autoscaler string
	endpoint   string
	apiKey     string
	tokens     int
	http       http.Client
	tally      tally
}

// A style is one way to call a worker.
type style struct {
	path   string
	nested bool
	stream bool
}

var styles = []style{
	{"/generate", false, false},
	{"/generate_stream", false, true},
	{"/v1/chat/completions", true, true},
	{"/v1/completions", true, false},
	{"/v1/chat/completions", false, false},
	{"/generate_stream", true, true},
	{"/v1/completions", false, true},
}

// run sends requests at the pace until ctx ends, then waits for the answers of
// those under way. The schedule does not wait for answers: a slow worker sees
// the same load as a fast one.
func (c *client) run(ctx context.Context, perSecond float64) {
	var underway sync.WaitGroup
	defer underway.Wait()
	start := time.Now()
	for n := 0; ; n++ {
		due := start.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		underway.Go(func() { c.tally.add(c.once(styles[n%len(styles)], n, due)) })
	}
}

// An outcome is how one request went.
type outcome struct {
	err       error
	firstByte time.Duration // from when it was due
	total     time.Duration
}

// once makes one whole request.
func (c *client) once(s style, n int, due time.Time) outcome {
	// It outlives the run on purpose: a request under way is let finish.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ticket, err := c.route(ctx)
	if err != nil {
		return outcome{err: err}
	}
	body, err := s.body(ticket, fmt.Sprintf("Tell me story number %d.", n), c.tokens)
	if err != nil {
		return outcome{err: err}
	}
	var where struct{ URL string }
	if err := json.Unmarshal(ticket, &where); err != nil {
		return outcome{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.URL+s.path, bytes.NewReader(body))
	if err != nil {
		return outcome{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return outcome{err: fmt.Errorf("%s: %w", s.path, err)}
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	_, err = in.Peek(1)
	o := outcome{err: err, firstByte: time.Since(due)}
	if err == nil {
		o.err = s.check(resp, in)
	}
	o.total = time.Since(due)
	return o
}

// route asks the autoscaler; the answer is the ticket, as it came.
func (c *client) route(ctx context.Context) ([]byte, error) {
	ask, err := json.Marshal(map[string]any{"endpoint": c.endpoint, "api_key": c.apiKey, "cost": c.tokens})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.autoscaler+"/route/", bytes.NewReader(ask))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("route: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("route: %w", err)
	case resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"signature"`)):
		return nil, fmt.Errorf("route: %s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	return answer, nil
}

// body puts the model's own members beside the ticket, or the ticket into an
// envelope.
func (s style) body(ticket []byte, prompt string, tokens int) ([]byte, error) {
	model := map[string]any{}
	switch {
	case strings.HasPrefix(s.path, "/generate"):
		model["inputs"] = prompt
		model["parameters"] = map[string]any{"max_new_tokens": tokens}
	case s.path == "/v1/chat/completions":
		model["messages"] = []any{map[string]any{"role": "user", "content": prompt}}
		model["max_tokens"], model["stream"] = tokens, s.stream
	default:
		model["prompt"], model["max_tokens"], model["stream"] = prompt, tokens, s.stream
	}
	if s.nested {
		return json.Marshal(map[string]any{"auth_data": json.RawMessage(ticket), "payload": model})
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(ticket, &members); err != nil {
		return nil, err
	}
	for name, value := range members {
		model[name] = value
	}
	return json.Marshal(model)
}

// check tells whether the answer is whole and of the kind that was asked for.
func (s style) check(resp *http.Response, in *bufio.Reader) error {
	answer, err := io.ReadAll(in)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", s.path, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", s.path, resp.Status, bytes.TrimSpace(answer))
	case s.stream && strings.HasPrefix(s.path, "/v1/") && !bytes.HasSuffix(bytes.TrimSpace(answer), []byte("data: [DONE]")):
		return fmt.Errorf("%s: the stream has no end", s.path)
	case s.stream && !bytes.HasPrefix(answer, []byte("data:")):
		return fmt.Errorf("%s: not an event stream", s.path)
	case !s.stream && !json.Valid(answer):
		return errors.New(s.path + ": the answer is not JSON")
	}
	return nil
}
