package dialect

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesInMetrics(t *testing.T) {
	for route, want := range map[string][2]string{
		"/generate": {"text_completion", "tgi"}, "/generate_stream": {"text_completion", "tgi"},
		"/v1/completions": {"text_completion", "openai"}, "/v1/chat/completions": {"chat", "openai"},
		"/v1/embeddings": {"embeddings", "openai"}, "/openai/chat/completions": {"chat", Other},
		"/v1/x/chat/completions": {"chat", "openai"}, "/v1/rerank": {Other, "openai"},
		"/v1/responses": {"chat", "openai"}, "/v1/messages": {"chat", "anthropic"}, "/v1/messages/count_tokens": {Other, "anthropic"},
		"/completion": {"text_completion", "llamacpp"}, "/completions": {"text_completion", "llamacpp"},
		"/api/chat": {"chat", "ollama"}, "/api/generate": {"text_completion", "ollama"}, "/api/embed": {"embeddings", "ollama"},
		"/": {Other, Other}, "": {Other, Other}, "/v1": {Other, Other}, "/generate/": {Other, Other},
	} {
		api := Of(route)
		require.Equal(t, want, [2]string{api.Operation, api.Provider}, route)
	}
}

// Every member is found by its name in its object, and nowhere else.
func TestFind(t *testing.T) {
	for m := Body + 1; m < MemberCount; m++ {
		require.NotEmpty(t, m.Name())
		require.Equal(t, m, Find(m.In(), []byte(m.Name())), m)
		require.True(t, m.In() == Body || m.In().Kind() == Object, m)
		require.Equal(t, Body, Find(m.In(), []byte(m.Name()+"s")), m)
	}
	for m := Body + 1; m < MemberCount; m++ {
		if m.In() == Body {
			require.Equal(t, m, FindFolded(bytes.ToUpper([]byte(m.Name()))), m)
			require.Equal(t, Body, FindFolded([]byte(m.Name())), "Find knows it")
		}
	}
	require.Equal(t, Body, FindFolded([]byte("Ünknown")))
	require.Equal(t, Body, Find(Body, nil))
	require.Equal(t, Body, Find(Body, make([]byte, 1000)))
	require.Equal(t, Number, N.Kind())
	require.Equal(t, "parameters.best_of", ParametersBestOf.String())
	require.Equal(t, "best_of", BestOf.String())
}

// The members in a row have the right kind, and for every engine that reads a limit
// there is one to insert.
func TestTable(t *testing.T) {
	for route, api := range exact {
		for _, m := range api.Copies {
			require.Equal(t, Number, m.Kind(), "%s: %s", route, m)
		}
		for _, m := range api.Prompts {
			require.Equal(t, Prompts, m.Kind(), "%s: %s", route, m)
		}
		require.Equal(t, len(api.Limits) > 0, len(api.Insert) > 0, route)
		var read, given Engine
		for _, r := range api.Limits {
			require.Equal(t, Number, r.Kind(), "%s: %s", route, r)
			read |= r.by
		}
		for _, r := range api.Insert {
			at := slices.IndexFunc(api.Limits, func(l Reading) bool { return l.Member == r.Member })
			require.GreaterOrEqual(t, at, 0, "%s: %s is inserted and not read", route, r)
			require.Zero(t, r.by&^api.Limits[at].by, "%s: %s", route, r)
			given |= r.by
		}
		require.Equal(t, read, given, route)
	}
}

func TestErrorIsJSON(t *testing.T) {
	for _, shape := range []Shape{Plain, OpenAI, Anthropic} {
		for _, text := range []string{"No.", "a \"quoted\" one\n", "not UTF-8: \xff"} {
			require.True(t, json.Valid(shape.Error(text, text, text)))
		}
	}
}

func TestShapes(t *testing.T) {
	require.Equal(t, `{"error":"No.","error_type":"c","request_id":"i"}`, string(Plain.Error("No.", "c", "i")))
	require.Equal(t, `{"error":{"message":"No.","type":"c","code":"c","param":null},"request_id":"i"}`, string(OpenAI.Error("No.", "c", "i")))
	require.Equal(t, `{"type":"error","error":{"message":"No.","type":"c","code":"c","param":null},"request_id":"i"}`, string(Anthropic.Error("No.", "c", "i")))
	for path, shape := range map[string]Shape{
		"/generate": Plain, "/api/chat": Plain, "/completion": Plain, "/x": Plain, "/v1/x": OpenAI, "/v1/responses": OpenAI,
		"/v1/messages": Anthropic, "/v1/messages/count_tokens": Anthropic, "/v1/messagesx": OpenAI,
	} {
		require.Equal(t, shape, Of(path).Errors, path)
	}
}
