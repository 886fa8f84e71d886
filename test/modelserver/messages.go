package modelserver

import (
	"encoding/json"
	"fmt"
	"net/http"
)

type messagesRequest struct {
	Model     string `json:"model"`
	MaxTokens int    `json:"max_tokens"`
	Messages  []struct {
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream bool `json:"stream"`
}

type object = map[string]any

// messages answers Anthropic's /v1/messages, streamed or not.
func (s *Server) messages(w http.ResponseWriter, r *http.Request, body []byte) {
	var in messagesRequest
	if err := json.Unmarshal(body, &in); err != nil || len(in.Messages) == 0 || in.MaxTokens < 1 || in.MaxTokens > maxTokens {
		writeMessagesFault(w, http.StatusBadRequest, "messages and max_tokens are required")
		return
	}
	prompt, n := textOf(in.Messages[len(in.Messages)-1].Content), in.MaxTokens
	number := r.Context().Value(recordKey{}).(*record).request.Number
	message := object{
		"id": fmt.Sprintf("msg-%d", number), "type": "message", "role": "assistant", "model": in.Model,
		"content": []object{}, "stop_reason": nil, "stop_sequence": nil,
		"usage": object{"input_tokens": countTokens(prompt), "output_tokens": 0},
	}
	if in.Stream {
		s.messagesStream(w, r, message, prompt, n)
		return
	}
	for i := range n {
		if !s.pace(r.Context(), i) {
			return
		}
	}
	message["content"] = []object{{"type": "text", "text": Text(prompt, n)}}
	message["stop_reason"] = "max_tokens"
	message["usage"].(object)["output_tokens"] = n
	writeJSON(w, http.StatusOK, message)
}

func (s *Server) messagesStream(w http.ResponseWriter, r *http.Request, message object, prompt string, n int) {
	out := newEvents(w, "")
	send := func(kind string, event object) bool { return out.named(kind, event) == nil }
	if !send("message_start", object{"message": message}) ||
		!send("content_block_start", object{"index": 0, "content_block": object{"type": "text", "text": ""}}) {
		return
	}
	for i := range n {
		if !s.pace(r.Context(), i) ||
			!send("content_block_delta", object{"index": 0, "delta": object{"type": "text_delta", "text": tokenAt(prompt, i).text}}) {
			return
		}
	}
	_ = send("content_block_stop", object{"index": 0}) &&
		send("message_delta", object{"delta": object{"stop_reason": "max_tokens", "stop_sequence": nil}, "usage": object{"output_tokens": n}}) &&
		send("message_stop", object{})
}

// writeMessagesFault answers in the shape of Anthropic's API.
func writeMessagesFault(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, object{"type": "error", "error": object{"type": "invalid_request_error", "message": text}})
}
