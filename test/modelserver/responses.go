package modelserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type responsesRequest struct {
	Model           string          `json:"model"`
	Input           json.RawMessage `json:"input"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
	Stream          bool            `json:"stream"`
}

// responses answers OpenAI's /v1/responses.
func (s *Server) responses(w http.ResponseWriter, r *http.Request, body []byte) {
	var in responsesRequest
	err := json.Unmarshal(body, &in)
	tokens, limited, ok := s.limitOf(in.MaxOutputTokens)
	if err != nil || len(in.Input) == 0 || !ok {
		writeJSON(w, http.StatusBadRequest, object{"error": object{
			"message": "input is required, and max_output_tokens in range", "type": "invalid_request_error", "param": nil, "code": nil,
		}})
		return
	}
	prompt := textOf(in.Input)
	response := func(status, text string) object {
		output := []object{}
		if status != "in_progress" {
			output = append(output, object{
				"type": "message", "id": "msg_0", "role": "assistant", "status": status,
				"content": []object{{"type": "output_text", "text": text, "annotations": []object{}}},
			})
		}
		return object{
			"id": fmt.Sprintf("resp_%d", r.Context().Value(recordKey{}).(*record).request.Number), "object": "response", "created_at": time.Now().Unix(),
			"model": in.Model, "status": status, "output": output,
			"usage": object{"input_tokens": countTokens(prompt), "output_tokens": tokens, "total_tokens": countTokens(prompt) + tokens},
		}
	}
	end := "completed"
	if limited {
		end = "incomplete"
	}
	if !in.Stream {
		if s.made(r.Context(), tokens) {
			writeJSON(w, http.StatusOK, response(end, Text(prompt, tokens)))
		}
		return
	}
	out, number := newEvents(w, ""), 0
	send := func(kind string, more object) error {
		more["sequence_number"] = number
		number++
		return out.named(kind, more)
	}
	at := func(more object) object {
		more["item_id"], more["output_index"], more["content_index"] = "msg_0", 0, 0
		return more
	}
	_ = send("response.created", object{"response": response("in_progress", "")})
	_ = send("response.output_item.added", object{"output_index": 0, "item": object{
		"type": "message", "id": "msg_0", "role": "assistant", "status": "in_progress", "content": []object{}}})
	_ = send("response.content_part.added", at(object{"part": object{"type": "output_text", "text": "", "annotations": []object{}}}))
	for i := range tokens {
		if !s.pace(r.Context(), i) || send("response.output_text.delta", at(object{"delta": tokenAt(prompt, i).text})) != nil {
			return
		}
	}
	_ = send("response.output_text.done", at(object{"text": Text(prompt, tokens)}))
	_ = send("response."+end, object{"response": response(end, Text(prompt, tokens))})
}
