package modelserver

import (
	"encoding/json"
	"net/http"
	"time"
)

type ollamaRequest struct {
	Model    string `json:"model"`
	Prompt   string `json:"prompt"` // of /api/generate
	Messages []struct {
		Content string `json:"content"`
	} `json:"messages"`
	Stream  *bool `json:"stream"`
	Options struct {
		NumPredict *int `json:"num_predict"`
	} `json:"options"`
}

type ollamaMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// An ollamaLine is one line of Ollama's answer, or the whole answer.
type ollamaLine struct {
	Model      string         `json:"model"`
	CreatedAt  time.Time      `json:"created_at"`
	Message    *ollamaMessage `json:"message,omitempty"`  // of /api/chat
	Response   *string        `json:"response,omitempty"` // of /api/generate
	Done       bool           `json:"done"`
	DoneReason string         `json:"done_reason,omitempty"`
	EvalCount  int            `json:"eval_count,omitempty"`
}

// ollama answers Ollama's /api/chat and /api/generate: newline-delimited JSON,
// streamed unless the request says otherwise.
func (s *Server) ollama(w http.ResponseWriter, r *http.Request, body []byte) {
	var in ollamaRequest
	chat := r.URL.Path == "/api/chat"
	if err := json.Unmarshal(body, &in); err != nil || chat && len(in.Messages) == 0 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "messages is required"})
		return
	}
	prompt, n := in.Prompt, s.options.DefaultMaxTokens
	if chat {
		prompt = in.Messages[len(in.Messages)-1].Content
	}
	if in.Options.NumPredict != nil {
		n = *in.Options.NumPredict
	}
	if n < 1 || n > maxTokens {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "num_predict is out of range"})
		return
	}
	line := func(text string, done bool) ollamaLine {
		l := ollamaLine{Model: in.Model, CreatedAt: time.Now().UTC(), Response: &text, Done: done}
		if chat {
			l.Message, l.Response = &ollamaMessage{"assistant", text}, nil
		}
		if done {
			l.DoneReason, l.EvalCount = "stop", n
		}
		return l
	}
	streams := in.Stream == nil || *in.Stream
	if streams {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
	}
	for i := range n {
		if !s.pace(r.Context(), i) {
			return
		}
		if !streams {
			continue
		}
		if json.NewEncoder(w).Encode(line(tokenAt(prompt, i).text, false)) != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
	}
	if streams {
		_ = json.NewEncoder(w).Encode(line("", true))
		return
	}
	writeJSON(w, http.StatusOK, line(Text(prompt, n), true))
}
