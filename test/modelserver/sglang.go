package modelserver

import (
	"encoding/json"
	"net/http"
)

// sglangGenerate answers SGLang's own /generate, which has the same path as that of
// Text Generation Inference but other members: text or input_ids. It reports whether
// the request is for SGLang. Each event has the whole text so far.
func (s *Server) sglangGenerate(w http.ResponseWriter, r *http.Request, body []byte) bool {
	var in struct {
		Text     json.RawMessage `json:"text"`
		InputIDs json.RawMessage `json:"input_ids"`
		Sampling struct {
			MaxNewTokens *int `json:"max_new_tokens"`
		} `json:"sampling_params"`
		Stream bool `json:"stream"`
	}
	if json.Unmarshal(body, &in) != nil || len(in.Text)+len(in.InputIDs) == 0 {
		return false
	}
	tokens, limited, ok := s.limitOf(in.Sampling.MaxNewTokens)
	if !ok {
		writeJSON(w, http.StatusBadRequest, object{"error": object{"message": "max_new_tokens must be at least 0"}})
		return true
	}
	prompt, reason := string(in.InputIDs), object{"type": "stop"}
	if len(in.Text) > 0 {
		prompt = textOf(in.Text)
	}
	if limited {
		reason = object{"type": "length", "length": tokens}
	}
	answer := func(n int, reason any) object {
		return object{"text": Text(prompt, n), "meta_info": object{
			"prompt_tokens": countTokens(prompt), "completion_tokens": n, "finish_reason": reason,
		}}
	}
	if !in.Stream {
		if s.made(r.Context(), tokens) {
			writeJSON(w, http.StatusOK, answer(tokens, reason))
		}
		return true
	}
	out := newEvents(w, "data: ")
	for i := range tokens {
		var why any // null until the end
		if i == tokens-1 {
			why = reason
		}
		if !s.pace(r.Context(), i) || out.send(answer(i+1, why)) != nil {
			return true
		}
	}
	_ = out.sendText("[DONE]")
	return true
}
