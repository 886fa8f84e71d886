package modelserver

import (
	"io"
	"mime"
	"net/http"
	"strings"
)

// isJSON reports whether a request says that its body is JSON. If not, it answers as
// the server would whose API is called: Text Generation Inference with 415, vLLM with
// 400, Anthropic's API with 415. Ollama accepts any type.
func isJSON(w http.ResponseWriter, r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch path := r.URL.Path; {
	case err == nil && kind == "application/json", strings.HasPrefix(path, "/api/"):
		return true
	case path == "/v1/messages":
		writeMessagesFault(w, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	case strings.HasPrefix(path, "/v1/"):
		writeOpenAIFault(w, "Unsupported Media Type: Only 'application/json' is allowed")
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusUnsupportedMediaType)
		_, _ = io.WriteString(w, "Expected request with `Content-Type: application/json`")
	}
	return false
}
