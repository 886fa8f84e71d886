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
	"time"
)

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

// body returns a request body with the ticket beside the model's own members, or with
// both in an envelope; without a ticket it is the model's own members only.
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
	if ticket == nil {
		return json.Marshal(model)
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

// An answer is the result of one call.
type answer struct {
	style     style
	status    int    // 0: no answer at all
	code      string // of a refusal, from X-Usher-Refusal
	body      []byte
	err       error // the connection broke; status may be set all the same
	sent      time.Time
	firstByte time.Time
	ended     time.Time
}

// post makes one call and reads its answer to the end.
func post(ctx context.Context, client *http.Client, url string, s style, body []byte, header http.Header) (a answer) {
	a = answer{style: s, sent: time.Now()}
	defer func() { a.ended = time.Now() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+s.path, bytes.NewReader(body))
	if err != nil {
		a.err = err
		return a
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	a.status, a.code = resp.StatusCode, resp.Header.Get("X-Usher-Refusal")
	in := bufio.NewReader(resp.Body)
	_, _ = in.Peek(1)
	a.firstByte = time.Now()
	if began, ok := ctx.Value(beganKey{}).(chan struct{}); ok && a.status == http.StatusOK {
		close(began)
	}
	a.body, a.err = io.ReadAll(in)
	return a
}

// whole returns what is wrong with the answer to a request that should have been
// served: nil if it is complete and of the kind that was asked for.
func (a answer) whole() error {
	body := bytes.TrimSpace(a.body)
	switch {
	case a.err != nil || a.status != http.StatusOK:
		return a.unlike("an answer")
	case a.style.stream && !bytes.HasPrefix(body, []byte("data:")):
		return errors.New(a.style.path + ": not an event stream")
	case a.style.stream && strings.HasPrefix(a.style.path, "/v1/") && !bytes.HasSuffix(body, []byte("data: [DONE]")):
		return errors.New(a.style.path + ": the stream's last event is missing")
	case a.style.path == "/generate_stream" && !bytes.Contains(body, []byte(`"generated_text":"`)):
		return errors.New(a.style.path + ": the stream's last event is missing")
	case !a.style.stream && !json.Valid(body):
		return errors.New(a.style.path + ": the answer is not JSON")
	}
	return nil
}

// refused returns what is wrong with the answer to a request that should have been
// refused with this status and code. The code must be in the header and in the body.
func (a answer) refused(status int, code string) error {
	if a.err != nil || a.status != status || a.code != code || a.errorType() != code {
		return a.unlike(fmt.Sprintf("%d %s", status, code))
	}
	return nil
}

// errorType returns the code in the body, in either shape.
func (a answer) errorType() string {
	var flat struct {
		ErrorType string          `json:"error_type"`
		Error     json.RawMessage `json:"error"`
	}
	if json.Unmarshal(a.body, &flat) != nil {
		return ""
	}
	var openAI struct{ Code string }
	if json.Unmarshal(flat.Error, &openAI) == nil {
		return openAI.Code
	}
	return flat.ErrorType
}

// unlike returns an error that says what came instead.
func (a answer) unlike(expected string) error {
	got := fmt.Sprintf("%d %s", a.status, a.code)
	switch {
	case a.status == 0:
		got = "no answer"
	case a.status == http.StatusOK && a.err != nil:
		got = "a broken answer"
	case a.status == http.StatusOK:
		got = "200"
	case a.code == "":
		got = fmt.Sprintf("%d %.200s", a.status, bytes.TrimSpace(a.body))
	}
	if a.err != nil {
		return fmt.Errorf("%s: expected %s, got %s: %w", a.style.path, expected, got, a.err)
	}
	return fmt.Errorf("%s: expected %s, got %s", a.style.path, expected, got)
}
