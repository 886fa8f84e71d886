// Package preset is a table of the model servers that USHER_ENGINE can name: where they
// listen, what they serve, and where they report their health and load. It is only
// data; docs/engines.md lists its sources.
package preset

import (
	"slices"

	"github.com/usher-sidecar/usher/dialect"
)

// A Preset is a row of the table. It must not be changed.
type Preset struct {
	Name   string         // for USHER_ENGINE
	Engine dialect.Engine // whose members of a request state work

	Port       int      // it listens on
	Routes     []string // that need a ticket
	OpenRoutes []string // that need none
	Health     string   // path of its health probe

	// FinalEvent says that every complete stream has its API's final event, so a
	// stream without it is broken.
	FinalEvent bool

	Figures Figures // of its load
	Slots   string  // path of a JSON object whose total_slots says how many requests run at once; "": none
}

// Slots that follow an engine's load begin at StartSlots, unless the engine states
// a number, and stay between MinSlots and MaxSlots. DefaultSlots is for an engine
// that reports nothing.
const (
	MinSlots     = 1
	StartSlots   = 8
	DefaultSlots = 128
	MaxSlots     = 1024
)

// Figures are the names of an engine's load in its Prometheus text. The zero value
// is for one that reports nothing.
type Figures struct {
	Path    string // of the text; "": there is none
	Running string // requests that are running
	Waiting string // requests that wait in its queue
	// Cache has the possible names of the share of the KV cache in use, 0 to 1; the
	// first one present counts. It may be empty.
	Cache []string
	// Replica is the label that distinguishes replicas, whose figures are added up.
	// Several samples of one replica show the same thing and are not added.
	Replica string
	Needs   string // the option it must be started with to report them; "": none
}

// Has reports whether the engine has figures.
func (f Figures) Has() bool { return f.Path != "" }

var table = []*Preset{
	{
		Name: "vllm", Engine: dialect.VLLM, Port: 8000, Health: "/health", FinalEvent: true,
		Routes: []string{
			"/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages",
			"/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize",
		},
		OpenRoutes: []string{"/v1/models"},
		Figures: Figures{
			Path: "/metrics", Running: "vllm:num_requests_running", Waiting: "vllm:num_requests_waiting",
			Cache: []string{"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}, Replica: "engine",
		},
	},
	{
		Name: "sglang", Engine: dialect.SGLang, Port: 30000, Health: "/health", FinalEvent: true,
		Routes:     []string{"/generate", "/v1/completions", "/v1/chat/completions", "/v1/embeddings"},
		OpenRoutes: []string{"/v1/models"},
		Figures: Figures{
			Path: "/metrics", Running: "sglang:num_running_reqs", Waiting: "sglang:num_queue_reqs",
			Cache: []string{"sglang:token_usage"}, Replica: "dp_rank", Needs: "--enable-metrics",
		},
	},
	{
		Name: "tgi", Engine: dialect.TGI, Port: 80, Health: "/health", FinalEvent: true,
		Routes:     []string{"/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"},
		OpenRoutes: []string{"/info", "/v1/models"},
		Figures:    Figures{Path: "/metrics", Running: "tgi_batch_current_size", Waiting: "tgi_queue_size"},
	},
	{
		Name: "llamacpp", Engine: dialect.LlamaCPP, Port: 8080, Health: "/health", FinalEvent: true,
		Routes: []string{
			"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/messages",
			"/completion", "/tokenize", "/detokenize",
		},
		OpenRoutes: []string{"/v1/models"},
		Figures: Figures{
			Path: "/metrics", Running: "llamacpp:requests_processing", Waiting: "llamacpp:requests_deferred",
			Cache: []string{"llamacpp:kv_cache_usage_ratio"}, Needs: "--metrics", // the former by older builds alone
		},
		Slots: "/props",
	},
	{
		Name: "ollama", Engine: dialect.Ollama, Port: 11434, Health: "/api/version", FinalEvent: true,
		Routes: []string{
			"/api/generate", "/api/chat", "/api/embed", "/v1/completions", "/v1/chat/completions",
			"/v1/embeddings", "/v1/responses", "/v1/messages",
		},
		OpenRoutes: []string{"/api/tags", "/v1/models", "/api/version"},
	},
}

// Of returns the preset of a name; nil if there is none.
func Of(name string) *Preset {
	if i := slices.IndexFunc(table, func(p *Preset) bool { return p.Name == name }); i >= 0 {
		return table[i]
	}
	return nil
}

// Names returns the names that Of knows.
func Names() []string {
	names := make([]string, len(table))
	for i, p := range table {
		names[i] = p.Name
	}
	return names
}

// Tells reports whether the engine says how many requests it can run, in its figures
// or directly.
func (p *Preset) Tells() bool { return p.Figures.Has() || p.Slots != "" }
