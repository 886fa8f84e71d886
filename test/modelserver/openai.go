package modelserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type openAIRequest struct {
	Model    string          `json:"model"`
	Prompt   json.RawMessage `json:"prompt"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	MaxTokens           *int `json:"max_tokens"`
	MaxCompletionTokens *int `json:"max_completion_tokens"`
	N                   int  `json:"n"`
	Stream              bool `json:"stream"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

type message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type choice struct {
	Index        int      `json:"index"`
	Text         *string  `json:"text,omitempty"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	FinishReason *string  `json:"finish_reason"`
}

type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

// A job is an OpenAI request that is being answered.
type job struct {
	chat   bool
	prompt string
	tokens int // of each choice
	reason string
	n      int // choices
	in     openAIRequest
	frame  completion // what all events share
}

func (s *Server) completions(w http.ResponseWriter, r *http.Request, body []byte) {
	s.complete(w, r, body, false)
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request, body []byte) {
	s.complete(w, r, body, true)
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, body []byte, chat bool) {
	j := &job{chat: chat}
	if fault := s.parseOpenAI(j, body); fault != "" {
		writeOpenAIFault(w, fault)
		return
	}
	kind, prefix := "text_completion", "cmpl"
	if chat {
		kind, prefix = "chat.completion", "chatcmpl"
	}
	if chat && j.in.Stream {
		kind += ".chunk"
	}
	number := r.Context().Value(recordKey{}).(*record).request.Number
	j.frame = completion{ID: fmt.Sprintf("%s-%d", prefix, number), Object: kind, Created: time.Now().Unix(), Model: j.in.Model}
	if j.in.Stream {
		s.completeStream(w, r, j)
		return
	}
	for i := range j.tokens {
		if !s.pace(r.Context(), i) {
			return
		}
	}
	out := j.frame
	for i := range j.n {
		text := Text(j.promptOf(i), j.tokens)
		c := choice{Index: i, FinishReason: &j.reason}
		if chat {
			c.Message = &message{Role: "assistant", Content: &text}
		} else {
			c.Text = &text
		}
		out.Choices = append(out.Choices, c)
	}
	out.Usage = j.usage()
	writeJSON(w, http.StatusOK, out)
}

// writeOpenAIFault answers in the shape of OpenAI's API.
func writeOpenAIFault(w http.ResponseWriter, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{
		"message": text, "type": "invalid_request_error", "param": nil, "code": nil,
	}})
}

// parseOpenAI fills j and returns what is wrong with the request, if anything.
func (s *Server) parseOpenAI(j *job, body []byte) (fault string) {
	if err := json.Unmarshal(body, &j.in); err != nil {
		return "the body is not a JSON object as expected"
	}
	if j.in.Model == "" {
		j.in.Model = "toy"
	}
	switch {
	case j.chat && len(j.in.Messages) == 0:
		return "messages is required"
	case j.chat:
		j.prompt = textOf(j.in.Messages[len(j.in.Messages)-1].Content)
	case len(j.in.Prompt) == 0:
		return "prompt is required"
	default:
		j.prompt = textOf(j.in.Prompt)
	}
	j.tokens, j.reason = s.options.DefaultMaxTokens, "stop"
	for _, limit := range []*int{j.in.MaxTokens, j.in.MaxCompletionTokens} {
		if limit != nil {
			j.tokens, j.reason = *limit, "length"
		}
	}
	if j.tokens < 1 || j.tokens > maxTokens {
		return "max_tokens is out of range"
	}
	j.n = max(j.in.N, 1)
	if j.n > 16 {
		return "n is out of range"
	}
	return ""
}

// textOf returns the value of a JSON string, and anything else as JSON.
func textOf(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(v))
}

func (j *job) promptOf(choice int) string {
	if choice == 0 {
		return j.prompt
	}
	return fmt.Sprintf("%s#%d", j.prompt, choice)
}

func (j *job) usage() *usage {
	in, out := countTokens(j.prompt), j.tokens*j.n
	return &usage{PromptTokens: in, CompletionTokens: out, TotalTokens: in + out}
}

func (s *Server) completeStream(w http.ResponseWriter, r *http.Request, j *job) {
	out := newEvents(w, "data: ")
	send := func(c choice) error {
		frame := j.frame
		frame.Choices = []choice{c}
		return out.send(frame)
	}
	for i := range j.tokens {
		if !s.pace(r.Context(), i) {
			return
		}
		for index := range j.n {
			text := tokenAt(j.promptOf(index), i).text
			c := choice{Index: index}
			if j.chat {
				c.Delta = &message{Content: &text}
				if i == 0 {
					c.Delta.Role = "assistant"
				}
			} else {
				c.Text = &text
			}
			if i == j.tokens-1 {
				c.FinishReason = &j.reason
			}
			if send(c) != nil {
				return
			}
		}
	}
	if j.in.StreamOptions.IncludeUsage {
		frame := j.frame
		frame.Choices, frame.Usage = []choice{}, j.usage()
		if out.send(frame) != nil {
			return
		}
	}
	_ = out.sendText("[DONE]")
}
