package dialect

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesInMetrics(t *testing.T) {
	for route, want := range map[string][2]string{
		"/generate": {"text_completion", "tgi"}, "/generate_stream": {"text_completion", "tgi"},
		"/v1/completions": {"text_completion", "openai"}, "/v1/chat/completions": {"chat", "openai"},
		"/v1/embeddings": {"embeddings", "openai"}, "/openai/chat/completions": {"chat", Other},
		"/v1/x/chat/completions": {"chat", "openai"}, "/v1/rerank": {Other, "openai"},
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
		require.True(t, m.In() == Body || m.In().IsObject(), m)
		require.Equal(t, Body, Find(m.In(), []byte(m.Name()+"s")), m)
	}
	require.Equal(t, Body, Find(Body, nil))
	require.Equal(t, Body, Find(Body, make([]byte, 1000)))
	require.False(t, N.IsObject())
	require.Equal(t, "parameters.best_of", ParametersBestOf.String())
	require.Equal(t, "best_of", BestOf.String())
}

// A row refers to members that can hold what it is read for.
func TestTable(t *testing.T) {
	for route, api := range exact {
		for _, list := range [][]Member{api.Limits, api.Copies, api.Insert} {
			for _, m := range list {
				require.False(t, m == Body || m.IsObject(), "%s: %s", route, m)
			}
		}
		require.Subset(t, api.Limits, api.Insert, route)
	}
}

func TestErrorIsJSON(t *testing.T) {
	for _, shape := range []Shape{Plain, OpenAI} {
		for _, text := range []string{"No.", "a \"quoted\" one\n", "not UTF-8: \xff"} {
			require.True(t, json.Valid(shape.Error(text, text, text)))
		}
	}
}
