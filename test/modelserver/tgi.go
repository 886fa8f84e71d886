package modelserver

import (
	"encoding/json"
	"net/http"
)

// maxTokens is the most tokens that one request gets.
const maxTokens = 100_000

type generateRequest struct {
	Inputs     *string `json:"inputs"`
	Parameters struct {
		MaxNewTokens *int `json:"max_new_tokens"`
		Details      bool `json:"details"`
	} `json:"parameters"`
}

type generateDetails struct {
	FinishReason    string `json:"finish_reason"`
	GeneratedTokens int    `json:"generated_tokens"`
}

type generateEvent struct {
	Index         int              `json:"index"`
	Token         generateToken    `json:"token"`
	GeneratedText *string          `json:"generated_text"`
	Details       *generateDetails `json:"details"`
}

type generateToken struct {
	ID      int     `json:"id"`
	Text    string  `json:"text"`
	Logprob float64 `json:"logprob"`
	Special bool    `json:"special"`
}

// parseGenerate reads a request of Text Generation Inference, or answers 422.
func (s *Server) parseGenerate(w http.ResponseWriter, body []byte) (prompt string, n int, details *generateDetails, ok bool) {
	var in generateRequest
	if err := json.Unmarshal(body, &in); err != nil || in.Inputs == nil {
		writeError(w, http.StatusUnprocessableEntity, "Input validation error: a JSON object with `inputs` is expected", "validation")
		return "", 0, nil, false
	}
	n, reason := s.options.DefaultMaxTokens, "eos_token"
	if in.Parameters.MaxNewTokens != nil {
		n, reason = *in.Parameters.MaxNewTokens, "length"
	}
	if n < 1 || n > maxTokens {
		writeError(w, http.StatusUnprocessableEntity, "Input validation error: `max_new_tokens` must be strictly positive", "validation")
		return "", 0, nil, false
	}
	if in.Parameters.Details {
		details = &generateDetails{FinishReason: reason, GeneratedTokens: n}
	}
	return *in.Inputs, n, details, true
}

func (s *Server) generate(w http.ResponseWriter, r *http.Request, body []byte) {
	if s.sglangGenerate(w, r, body) {
		return
	}
	prompt, n, details, ok := s.parseGenerate(w, body)
	if !ok {
		return
	}
	for i := range n {
		if !s.pace(r.Context(), i) {
			return
		}
	}
	writeJSON(w, http.StatusOK, struct {
		GeneratedText string           `json:"generated_text"`
		Details       *generateDetails `json:"details,omitempty"`
	}{Text(prompt, n), details})
}

func (s *Server) generateStream(w http.ResponseWriter, r *http.Request, body []byte) {
	prompt, n, details, ok := s.parseGenerate(w, body)
	if !ok {
		return
	}
	out := newEvents(w, "data:")
	for i := range n {
		if !s.pace(r.Context(), i) {
			return
		}
		t := tokenAt(prompt, i)
		event := generateEvent{Index: i + 1, Token: generateToken{
			ID: t.id, Text: t.text, Logprob: -float64(t.id+1) / 64,
		}}
		if i == n-1 {
			text := Text(prompt, n)
			event.GeneratedText, event.Details = &text, details
		}
		if out.send(event) != nil {
			return
		}
	}
}

// writeError answers in the shape of Text Generation Inference.
func writeError(w http.ResponseWriter, status int, message, kind string) {
	writeJSON(w, status, map[string]string{"error": message, "error_type": kind})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// events is a stream of server-sent events.
type events struct {
	w      http.ResponseWriter
	prefix string
}

func newEvents(w http.ResponseWriter, prefix string) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	return &events{w, prefix}
}

func (e *events) send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.sendText(string(data))
}

// named sends an event with its type as its name.
func (e *events) named(kind string, event object) error {
	event["type"] = kind
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return e.sendText("event: " + kind + "\ndata: " + string(data))
}

func (e *events) sendText(data string) error {
	if _, err := e.w.Write([]byte(e.prefix + data + "\n\n")); err != nil {
		return err
	}
	return http.NewResponseController(e.w).Flush()
}
