package benchmark

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
)

// DefaultWork is the work that a default body states, in tokens.
const DefaultWork = 256

// promptWords is how long the prompt of a default body is.
const promptWords = 100

// engineSGLang is the engine whose /generate reads members of its own.
const engineSGLang = "sglang"

// A Template makes a default body of a model's name, "" where the server names
// none, and a prompt.
type Template func(model, prompt string) map[string]any

// DefaultBody is the body for a route that is known: a prompt of random words, a
// limit of DefaultWork tokens. engine may be "".
func DefaultBody(route, engine string) (Template, bool) {
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

// bodies returns what makes the body of each request. A model's name is asked for
// once, where the route's requests name one.
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
		text, _ := json.Marshal(members) // strings and numbers alone: it cannot fail
		return text
	}
}

// firstModel is the first that the server names; "" where it names none.
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

// words are what prompts are made of; prompts differ, or a server that remembers
// the beginning of a prompt would look faster than it is.
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
