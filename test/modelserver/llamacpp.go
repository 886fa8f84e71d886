package modelserver

import (
	"encoding/json"
	"net/http"
)

// llamaCompletion answers llama.cpp's own /completion.
func (s *Server) llamaCompletion(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		Prompt   json.RawMessage `json:"prompt"`
		NPredict *int            `json:"n_predict"`
		Stream   bool            `json:"stream"`
	}
	err := json.Unmarshal(body, &in)
	if in.NPredict != nil && *in.NPredict < 0 {
		in.NPredict = nil // without a limit
	}
	tokens, limited, ok := s.limitOf(in.NPredict)
	if err != nil || len(in.Prompt) == 0 || !ok {
		writeJSON(w, http.StatusBadRequest, object{"error": object{"code": 400, "message": "prompt is required", "type": "invalid_request_error"}})
		return
	}
	prompt, why := textOf(in.Prompt), "eos"
	if limited {
		why = "limit"
	}
	end := func(text string) object {
		return object{"index": 0, "content": text, "stop": true, "stop_type": why, "tokens_predicted": tokens, "tokens_evaluated": countTokens(prompt)}
	}
	if !in.Stream {
		if s.made(r.Context(), tokens) {
			writeJSON(w, http.StatusOK, end(Text(prompt, tokens)))
		}
		return
	}
	out := newEvents(w, "data: ")
	for i := range tokens {
		if !s.pace(r.Context(), i) || out.send(object{"index": 0, "content": tokenAt(prompt, i).text, "stop": false}) != nil {
			return
		}
	}
	_ = out.send(end(""))
}
