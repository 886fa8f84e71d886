package preset

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

func TestTable(t *testing.T) {
	require.Equal(t, []string{"vllm", "sglang", "tgi", "llamacpp", "ollama"}, Names())
	require.Nil(t, Of("VLLM"))
	require.Nil(t, Of(""))
	engines := map[dialect.Engine]bool{}
	for _, name := range Names() {
		p := Of(name)
		require.Equal(t, name, p.Name)
		require.False(t, engines[p.Engine] || p.Engine == dialect.AnyEngine, name)
		engines[p.Engine] = true
		require.NotZero(t, p.Port, name)
		require.NotEmpty(t, p.Routes, name)
		seen := map[string]bool{}
		for _, path := range append(append([]string{p.Health}, p.Routes...), p.OpenRoutes...) {
			require.True(t, strings.HasPrefix(path, "/"), path)
			require.False(t, seen[path] && path != p.Health, path)
			seen[path] = true
		}
		require.Equal(t, p.Figures.Has(), p.Figures.Running != "" && p.Figures.Waiting != "", name)
		require.Equal(t, p.Figures.Has() || p.Slots != "", p.Tells(), name)
	}
}

// For an engine with FinalEvent, dialect must know the final event of some route.
func TestFinalEvents(t *testing.T) {
	for _, name := range Names() {
		p := Of(name)
		known := false
		for _, route := range p.Routes {
			known = known || dialect.Of(route).Ending != nil
		}
		require.Equal(t, p.FinalEvent, known, name)
	}
}
