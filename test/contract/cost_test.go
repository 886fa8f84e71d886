package contract

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// The cost policies on every route, flat and nested: which requests are let in, which
// are refused and with what code, and how bodies are changed.
func TestCostPolicies(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	const completions, chat = "/v1/completions", "/v1/chat/completions"
	huge := strings.Repeat("9", 400)
	tests := []struct {
		path, model string // the cost is 256.0
		enforce     string // what is forwarded, or the code
	}{
		{"/generate", `{"parameters":{"max_new_tokens":256}}`, `{"parameters":{"max_new_tokens":256}}`},
		{"/generate", `{"parameters":{"max_new_tokens":257}}`, "cost_exceeded"},
		{"/generate_stream", `{"parameters":{"max_new_tokens":128,"best_of":2}}`, `{"parameters":{"max_new_tokens":128,"best_of":2}}`},
		{"/generate_stream", `{"parameters":{"max_new_tokens":129,"best_of":2}}`, "cost_exceeded"},
		{"/generate", `{"parameters":{"max_new_tokens":4294967296,"best_of":4294967296}}`, "cost_exceeded"},
		{"/generate", `{"parameters":{"max_new_tokens":` + huge + `}}`, "invalid_ticket"},
		{"/generate", `{"parameters":{"max_new_tokens":-1}}`, "invalid_ticket"},
		{"/generate", `{"parameters":{"max_new_tokens":0.5}}`, "invalid_ticket"},
		{"/generate", `{"parameters":{"max_new_tokens":"8"}}`, "invalid_ticket"},
		{"/generate", `{"parameters":{"max_new_tokens":true}}`, "invalid_ticket"},
		{"/generate", `{"parameters":{"best_of":-2,"max_new_tokens":1}}`, "invalid_ticket"},
		{"/generate", `{"parameters":[8]}`, "invalid_ticket"},
		{"/generate", `{"max_tokens":9999,"n":-1}`, `{"parameters":{"max_new_tokens":256},"max_tokens":9999,"n":-1}`},
		{"/generate", `{"parameters" : null , "inputs":"a"}`, `{"parameters" : {"max_new_tokens":256} , "inputs":"a"}`},
		{"/generate", `{"inputs":"a","parameters": {} }`, `{"inputs":"a","parameters": {"max_new_tokens":256} }`},
		{"/generate", `{"parameters":{ "best_of":3,"max_new_tokens":null,"x":1e2}}`, `{"parameters":{ "best_of":3,"max_new_tokens":85,"x":1e2}}`},
		{"/generate", `{"parameters":{"best_of":300}}`, "cost_exceeded"},
		{"/generate", `{"parameters":{"max_new\u005ftokens":300}}`, "cost_exceeded"},
		{"/generate_stream", `{"x":"\ud800","y":{"parameters":1}}`, `{"parameters":{"max_new_tokens":256},"x":"\ud800","y":{"parameters":1}}`},
		{completions, `{"prompt":"a"}`, `{"max_tokens":256,"prompt":"a"}`},
		{completions, `{"max_tokens":null,"n":2,"best_of":4}`, `{"max_tokens":64,"n":2,"best_of":4}`},
		{completions, `{"max_tokens":64,"n":2,"best_of":4}`, `{"max_tokens":64,"n":2,"best_of":4}`},
		{completions, `{"max_tokens":65,"n":2,"best_of":4}`, "cost_exceeded"},
		{completions, `{"max_tokens":1e2}`, `{"max_tokens":1e2}`},
		{completions, `{"max_tokens":1,"n":1.5}`, "invalid_ticket"},
		{completions, `{"parameters":{"max_new_tokens":9999}}`, `{"max_tokens":256,"parameters":{"max_new_tokens":9999}}`},
		{chat, `{"messages":[]}`, `{"max_completion_tokens":256,"max_tokens":256,"messages":[]}`},
		{chat, `{"max_tokens":null,"max_completion_tokens":null}`, `{"max_tokens":256,"max_completion_tokens":256}`},
		{chat, `{"max_tokens":256}`, `{"max_tokens":256}`},
		{chat, `{"max_tokens":1,"max_completion_tokens":257}`, "cost_exceeded"},
		{chat, `{"max_tokens":257,"max_completion_tokens":1}`, "cost_exceeded"},
		{chat, `{"n":257}`, "cost_exceeded"},
		{chat, `{"n":0}`, `{"max_completion_tokens":256,"max_tokens":256,"n":0}`},
		{chat, `{}`, `{"max_completion_tokens":256,"max_tokens":256}`},
		{chat, ` { } `, `{"max_completion_tokens":256,"max_tokens":256 }`},
		{chat, `{"max_completion_tokens":null,"max_tokens":-1}`, "invalid_ticket"},
		{"/generate", `{"text":["a","b"],"sampling_params":{"max_new_tokens":129}}`, "cost_exceeded"},
		{"/generate", `{"text":["a","b"]}`, `{"sampling_params":{"max_new_tokens":128},"text":["a","b"]}`},
		{completions, `{"max_tokens":64,"prompt":["a","b","c","d","e"]}`, "cost_exceeded"},
		{completions, `{"max_tokens":64,"prompt":[[1,2],[3],[4],[5]]}`, `{"max_tokens":64,"prompt":[[1,2],[3],[4],[5]]}`},
		{completions, `{"prompt":[1,2,3,4]}`, `{"max_tokens":256,"prompt":[1,2,3,4]}`},
		{completions, `{"max_tokens":0}`, `{"max_tokens":0}`},
		{"/v1/responses", `{"input":"a"}`, `{"max_output_tokens":256,"input":"a"}`},
		{"/v1/responses", `{"max_output_tokens":257}`, "cost_exceeded"},
		{"/v1/messages", `{"messages":[]}`, `{"max_tokens":256,"messages":[]}`},
		{"/v1/messages", `{"max_tokens":257}`, "cost_exceeded"},
		{"/completion", `{"prompt":"a"}`, `{"n_predict":256,"prompt":"a"}`},
		{"/completion", `{"prompt":["a","b"],"n_predict":129}`, "cost_exceeded"},
		{"/completion", `{"n_predict":0}`, "invalid_ticket"},
		{"/completion", `{"n_predict":-1}`, "invalid_ticket"},
		{"/api/chat", `{"messages":[]}`, `{"options":{"num_predict":256},"messages":[]}`},
		{"/api/chat", `{"options":{"num_predict":257}}`, "cost_exceeded"},
		{"/api/generate", `{"options":{"num_predict":0}}`, "invalid_ticket"},
		{"/api/generate", `{"options":{"num_predict":null,"seed":1}}`, `{"options":{"num_predict":256,"seed":1}}`},
		{"/api/chat", `{"OPTIONS":{"num_predict":9999}}`, "invalid_ticket"},
		{chat, `{"max_tokens":1,"Max_Tokens":9999}`, "invalid_ticket"},
		{"/v1/embeddings", `{"input":"a","max_tokens":-1}`, `{"input":"a","max_tokens":-1}`},
	}
	twice := []struct{ path, model string }{ // nested only: at the top of a body nothing may stand twice
		{"/generate", `{"parameters":{"max_new_tokens":1,"max_new_tokens":1}}`},
		{"/generate_stream", `{"parameters":{"best_of":1,"best\u005fof":null}}`},
		{completions, `{"n":1,"n":1}`},
		{chat, `{"max_tokens":1,"max_tokens":2}`},
		{chat, `{"max_completion_tokens":null,"max_completion_tokens":2}`},
	}
	base := rig.Settings(m, s).With(rig.Env{"USHER_REORDER_HOLD": "0", "USHER_ROUTES": "/generate,/generate_stream," + completions + "," + chat +
		",/v1/responses,/v1/messages,/v1/embeddings,/completion,/api/chat,/api/generate"})
	for policy, u := range map[string]*rig.Usher{
		"off":     rig.Start(t, base.With(rig.Env{"USHER_COST_POLICY": "off"})),
		"observe": rig.Start(t, base),
		"enforce": rig.Start(t, base.With(rig.Env{"USHER_COST_POLICY": "enforce"})),
	} {
		if policy == "enforce" {
			u.WaitLine("does not check cost there: /v1/embeddings\"")
		}
		for _, tt := range tests {
			trimmed := strings.TrimSpace(tt.model)
			flat := strings.TrimSpace(trimmed[1:])
			bodies := map[string]string{"nested": string(s.Ticket().Nested(tt.model))}
			if flat != "}" {
				bodies["flat"] = "{" + s.Ticket().Members() + "," + trimmed[1:]
			}
			for form, body := range bodies {
				want := trimmed
				if policy == "enforce" {
					want = tt.enforce
				}
				before := len(m.Arrivals())
				got := u.Post(tt.path, []byte(body))
				if !strings.HasPrefix(want, "{") {
					require.Equal(t, want, got.Code(), "%s %s %s", policy, form, tt.model)
					require.Len(t, m.Arrivals(), before)
					continue
				}
				require.Equal(t, 200, got.Status, "%s %s %s: %s", policy, form, tt.model, got.Body)
				require.Equal(t, want, m.Arrivals()[before].Body, "%s %s", policy, form)
			}
		}
		for _, tt := range twice {
			want := map[string]int{"off": 200, "observe": 400, "enforce": 422}[policy]
			require.Equal(t, want, u.Post(tt.path, s.Ticket().Nested(tt.model)).Status, "%s %s", policy, tt.model)
		}
	}
}

// Where the policy refuses nothing, work without a limit is counted and logged as
// exceeding its cost.
func TestEndlessWorkIsObserved(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_ROUTES": "/generate,/v1/completions,/api/chat"}))
	for i, tt := range []struct{ path, model string }{
		{"/generate", `"parameters":{"max_new_tokens":-1}`}, {"/v1/completions", `"max_tokens":1e99`}, {"/api/chat", `"options":{"num_predict":0}`},
		{"/v1/completions", `"max_tokens":3,"prompt":[` + strings.Repeat(`"a",`, 99) + `"a"]`},
	} {
		require.Equal(t, 200, u.Post(tt.path, s.Ticket().Flat(tt.model)).Status, tt.model)
		u.WaitMetric("usher_cost_exceeded_total", float64(i+1))
	}
	require.Equal(t, 200, u.Post("/v1/completions", s.Ticket().Flat(`"max_tokens":0`)).Status)
	u.WaitMetric(`usher_requests_total{outcome="ok",route="/v1/completions"}`, 3)
	require.EqualValues(t, 4, u.Metric("usher_cost_exceeded_total"))
}

// The largest limit that a cost covers, for costs at the limits of numbers.
func TestLimitFromTheCost(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_COST_POLICY": "enforce", "USHER_REORDER_HOLD": "0"}))
	for cost, want := range map[string]string{
		"0": "", "0.0": "", "-0.0": "", "0.999": "", "5e-324": "", "1": "1", "1.9999": "1", "256.75": "256", "1e2": "100",
		"9007199254740993": "9007199254740992", "1e+16": "10000000000000000", "1e+300": "9223372036854775807",
	} {
		python := map[string]string{"1e2": "100.0"}[cost]
		if python == "" {
			python = cost
		}
		tk := s.Ticket()
		tk = s.Signed(tk.With("signature", "").With("cost", python), "cost", "endpoint", "reqnum", "url").With("cost", cost)
		before := len(m.Arrivals())
		got := u.Post("/v1/completions", tk.Flat(""))
		if want == "" {
			require.Equal(t, "cost_exceeded", got.Code(), cost)
			require.Equal(t, 200, u.Post("/v1/completions", tk.Flat(`"max_tokens":0`)).Status, "%s: the ticket is still good", cost)
			continue
		}
		require.Equal(t, 200, got.Status, "%s: %s", cost, got.Body)
		require.Equal(t, `{"max_tokens":`+want+`}`, m.Arrivals()[before].Body, cost)
	}
}
