package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/preset"
	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/dialect"
)

func TestEngineSetsDefaults(t *testing.T) {
	for name, want := range map[string]struct {
		address, health string
		engine          dialect.Engine
	}{
		"vllm":     {"127.0.0.1:8000", "/health", dialect.VLLM},
		"sglang":   {"127.0.0.1:30000", "/health", dialect.SGLang},
		"tgi":      {"127.0.0.1:80", "/health", dialect.TGI},
		"llamacpp": {"127.0.0.1:8080", "/health", dialect.LlamaCPP},
		"ollama":   {"127.0.0.1:11434", "/api/version", dialect.Ollama},
	} {
		c := load(t, "USHER_ENGINE="+name)
		require.Equal(t, want.address, c.Upstream.Address, name)
		require.Equal(t, want.health, c.HealthPath, name)
		require.Equal(t, preset.Of(name).Routes, route.Names(c.Routes), name)
		require.Equal(t, preset.Of(name).OpenRoutes, route.Names(c.OpenRoutes), name)
		require.Equal(t, want.engine, c.Dialect(), name)
		require.Equal(t, name, c.Engine())
		require.Equal(t, "http://"+want.address, inForce(c, "USHER_UPSTREAM_URL"), name)
	}
}

func TestSettingsWinOverEngine(t *testing.T) {
	c := load(t, "USHER_ENGINE=Ollama", "USHER_UPSTREAM_URL=http://model:1", "USHER_ROUTES=/mine", "USHER_HEALTH_PATH=/up")
	require.Equal(t, "model:1", c.Upstream.Address)
	require.Equal(t, []string{"/mine"}, route.Names(c.Routes))
	require.Equal(t, "/up", c.HealthPath)
	require.Equal(t, "ollama", inForce(c, "USHER_ENGINE"))
	require.Equal(t, "/h", load(t, "USHER_ENGINE=ollama", "MODEL_HEALTH_ENDPOINT=/h").HealthPath)
	// A variable that is set to its default still overrides the preset; an empty one is
	// not set.
	require.Equal(t, "127.0.0.1:5001", load(t, "USHER_ENGINE=vllm", "USHER_UPSTREAM_URL=http://127.0.0.1:5001").Upstream.Address)
	require.Equal(t, "127.0.0.1:8000", load(t, "USHER_ENGINE=vllm", "USHER_UPSTREAM_URL=").Upstream.Address)
}

func TestWithoutEngine(t *testing.T) {
	c := load(t, "USHER_ENGINE=")
	require.Nil(t, c.Preset)
	require.Equal(t, "", c.Engine())
	require.Equal(t, dialect.AnyEngine, c.Dialect())
}

func TestEngineNobodyKnows(t *testing.T) {
	_, err := Load(append(base(publicKey(t)), "USHER_ENGINE=llama.cpp"))
	require.ErrorContains(t, err, `USHER_ENGINE: "llama.cpp" is not one of vllm, sglang, tgi, llamacpp, ollama`)
}

func inForce(c *Config, name string) string {
	for _, v := range c.InForce {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func TestConcurrencyFollowsTheEngine(t *testing.T) {
	for _, tt := range []struct {
		settings []string
		auto     bool
		first    int
		most     int
		shown    string
	}{
		{nil, false, 128, 128, "128"},
		{[]string{"USHER_ENGINE=vllm"}, true, 8, 1024, "auto"},
		{[]string{"USHER_ENGINE=llamacpp", "USHER_MAX_CONCURRENCY=Auto"}, true, 8, 1024, "Auto"},
		{[]string{"USHER_ENGINE=vllm", "USHER_MAX_CONCURRENCY=128"}, false, 128, 128, "128"},
		{[]string{"USHER_ENGINE=vllm", "USHER_MAX_CONCURRENCY=0"}, false, 0, 0, "0"},
		{[]string{"USHER_ENGINE=ollama"}, false, 128, 128, "128"},
	} {
		c := load(t, tt.settings...)
		require.Equal(t, tt.auto, c.AutoConcurrency, tt.settings)
		require.Equal(t, tt.first, c.FirstSlots(), tt.settings)
		require.Equal(t, tt.most, c.MaxConcurrency, tt.settings)
		require.Equal(t, tt.shown, inForce(c, "USHER_MAX_CONCURRENCY"), tt.settings)
		require.NotContains(t, strings.Join(c.Warnings, "\n"), "USHER_MAX_CONCURRENCY")
	}
	for _, settings := range [][]string{{"USHER_MAX_CONCURRENCY=auto"}, {"USHER_ENGINE=ollama", "USHER_MAX_CONCURRENCY=auto"}} {
		c := load(t, settings...)
		require.Equal(t, 128, c.FirstSlots())
		require.Contains(t, strings.Join(c.Warnings, "\n"), "USHER_MAX_CONCURRENCY is auto, but")
	}
	_, err := Load(append(base(publicKey(t)), "USHER_ENGINE=vllm", "USHER_MAX_CONCURRENCY=many"))
	require.ErrorContains(t, err, "USHER_MAX_CONCURRENCY")
}
