package benchmark

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
)

// DefaultWork is the limit, in tokens, that a default body asks for.
const DefaultWork = 256

// promptWords is the length of a default body's prompt.
const promptWords = 100

// engineSGLang is the engine whose /generate reads members of its own.
const engineSGLang = "sglang"

// A Template makes a default body from a model's name, "" if the server names none, and
// a prompt.
type Template func(model, prompt string) map[string]any

// DefaultBody returns the template for a known route, with a limit of DefaultWork
// tokens. engine may be "". ok is false for other routes.
func DefaultBody(route, engine string) (t Template, ok bool) {
	switch route {
	case "/generate", "/generate_stream":
		if engine == engineSGLang {
			return func(_, prompt string) map[string]any {
				return map[string]any{"text": prompt, "sampling_params": map[string]any{"max_new_tokens": DefaultWork}}
			}, true
		}
		return func(_, prompt string) map[string]any {
			return map[string]any{"inputs": prompt, "parameters": map[string]any{"max_new_tokens": DefaultWork}}
		}, true
	case "/v1/completions":
		return func(_, prompt string) map[string]any {
			return map[string]any{"prompt": prompt, "max_tokens": DefaultWork}
		}, true
	case "/v1/chat/completions":
		return func(_, prompt string) map[string]any {
			return map[string]any{"messages": []any{map[string]any{"role": "user", "content": prompt}}, "max_tokens": DefaultWork}
		}, true
	case "/api/generate":
		return func(_, prompt string) map[string]any {
			return map[string]any{"prompt": prompt, "stream": false, "options": map[string]any{"num_predict": DefaultWork}}
		}, true
	}
	return nil, false
}

// bodies returns a function that makes the body of each request. If the route's
// requests name a model, it asks the server for one first.
func (b *Benchmark) bodies(ctx context.Context) func() []byte {
	if b.o.Body != nil {
		return func() []byte { return b.o.Body }
	}
	template, _ := DefaultBody(b.o.Route, b.o.Engine)
	model := ""
	if strings.HasPrefix(b.o.Route, "/v1/") || strings.HasPrefix(b.o.Route, "/api/") {
		model = b.firstModel(ctx)
	}
	return func() []byte {
		members := template(model, prompt())
		if model != "" {
			members["model"] = model
		}
		text, _ := json.Marshal(members) // only strings and numbers: cannot fail
		return text
	}
}

// firstModel returns the first model that the server names; "" if it names none.
func (b *Benchmark) firstModel(ctx context.Context) string {
	response, err := b.do(ctx, http.MethodGet, "/v1/models", nil)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	var list struct {
		Data []struct{ ID string }
	}
	if response.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(response.Body, maxModels)).Decode(&list) != nil || len(list.Data) == 0 {
		return ""
	}
	return list.Data[0].ID
}

// words are the words of prompts. Prompts must differ: a server that caches prefixes
// would otherwise look faster than it is.
var words = strings.Fields(`river stone lamp winter copper garden engine silver window
	mountain letter bridge candle harbour forest paper mirror thunder orchard signal
	meadow anchor violin desert ladder market ocean pencil quarry ribbon saddle temple
	umbrella valley whistle yellow barrel canyon dragon ember falcon glacier hammer
	island jungle kettle lantern marble needle olive pepper quilt rocket shadow timber`)

func prompt() string {
	list := make([]string, promptWords)
	for i := range list {
		list[i] = words[rand.IntN(len(words))]
	}
	return "Write a long story with these words: " + strings.Join(list, " ")
}
