package envelope

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

// Each row of the table: the most that its requests ask for, at the edge.
func TestWorkOfEveryRow(t *testing.T) {
	const none, endless = -1, -2
	for _, tt := range []struct {
		route, model string
		work         int // none: not stated
	}{
		{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":7}}`, 7},
		{"/generate", `{"text":["a","b","c"],"sampling_params":{"max_new_tokens":7,"n":2}}`, 42},
		{"/generate", `{"text":[],"sampling_params":{"max_new_tokens":7}}`, 7},
		{"/generate", `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":7}}`, 7},
		{"/generate", `{"input_ids":[[1,2],[3]],"sampling_params":{"max_new_tokens":7}}`, 14},
		{"/generate", `{"text":"a","sampling_params":{}}`, none},
		{"/generate", `{"text":"a","parameters":{"max_new_tokens":7}}`, none},
		{"/generate", `{"inputs":"a","sampling_params":{"max_new_tokens":7}}`, none},
		{"/generate_stream", `{"inputs":["a","b"],"parameters":{"max_new_tokens":7,"best_of":3}}`, 21},
		{"/generate", `{"inputs":"a","parameters":{"max_new_tokens":-1}}`, endless},
		{"/v1/completions", `{"prompt":["a","b"],"max_tokens":7,"n":2,"best_of":3}`, 42},
		{"/v1/completions", `{"prompt":[` + strings.Repeat(`"x",`, 99) + `"x"],"max_tokens":3}`, 300},
		{"/v1/completions", `{"prompt":[[1,2],[3,4]],"max_tokens":7}`, 14},
		{"/v1/completions", `{"prompt":[1,2,3,4],"max_tokens":7}`, 7},
		{"/v1/completions", `{"prompt":[1,"a",2,"b"],"max_tokens":7}`, 14},
		{"/v1/completions", `{"prompt":["a"],"max_tokens":7}`, 7},
		{"/v1/completions", `{"prompt":"","max_tokens":7}`, 7},
		{"/v1/completions", `{"prompt":null,"max_tokens":7}`, 7},
		{"/v1/completions", `{"n_predict":9,"max_tokens":7,"max_completion_tokens":8}`, 9},
		{"/v1/completions", `{"max_tokens":7,"n_cmpl":3}`, 21},
		{"/v1/completions", `{"max_tokens":-1}`, endless},
		{"/v1/completions", `{"max_tokens":1e30}`, endless},
		{"/v1/completions", `{"max_tokens":0}`, 0},
		{"/v1/chat/completions", `{"prompt":["a","b"],"max_tokens":7}`, 7},
		{"/v1/chat/completions", `{"max_completion_tokens":9,"max_tokens":7,"n":2}`, 18},
		{"/v1/chat/completions", `{"max_completion_tokens":9,"max_tokens":-1}`, endless},
		{"/v1/chat/completions", `{"n_predict":9}`, 9},
		{"/v1/responses", `{"max_output_tokens":9,"max_tokens":100,"n":5}`, 9},
		{"/v1/messages", `{"max_tokens":9,"n":5}`, 9},
		{"/completion", `{"n_predict":9,"max_tokens":100}`, 100},
		{"/completion", `{"n_predict":9,"prompt":["a","b"],"n_cmpl":3}`, 54},
		{"/completions", `{"n_predict":9,"n":3}`, 27},
		{"/completion", `{"n_predict":-1}`, endless},
		{"/completion", `{"n_predict":0}`, endless},
		{"/api/chat", `{"options":{"num_predict":9}}`, 9},
		{"/api/chat", `{"num_predict":9,"max_tokens":9}`, none},
		{"/api/chat", `{"options":{"num_predict":0}}`, endless},
		{"/api/generate", `{"options":{"num_predict":-2},"prompt":["a","b"]}`, endless},
		{"/api/generate", `{"options":null}`, none},
	} {
		for form, env := range opened(t, tt.model) {
			what := fmt.Sprintf("%s %s %s", form, tt.route, tt.model)
			work, err := env.Work(dialect.Of(tt.route), dialect.AnyEngine)
			require.Equal(t, tt.work != none, work.Stated, what)
			if tt.work == endless {
				require.ErrorIs(t, err, ErrInvalidTicket, what)
				require.True(t, work.Exceeds(cost(t, "1e300")), what)
				continue
			}
			require.NoError(t, err, what)
			if tt.work != none {
				require.False(t, work.Exceeds(cost(t, fmt.Sprint(tt.work))), what)
			}
			if tt.work > 0 {
				require.True(t, work.Exceeds(cost(t, fmt.Sprint(tt.work-1))), what)
			}
		}
	}
}

// Members that an engine does not read do not count, and a limit is added where it
// does read one.
func TestLimitOfEveryRow(t *testing.T) {
	for _, tt := range []struct {
		engine                dialect.Engine
		route, model, payload string
	}{
		{dialect.AnyEngine, "/generate", `{"text":"a"}`, `{"sampling_params":{"max_new_tokens":12},"text":"a"}`},
		{dialect.AnyEngine, "/generate", `{"text":["a","b"],"sampling_params":{"n":2}}`, `{"text":["a","b"],"sampling_params":{"max_new_tokens":3,"n":2}}`},
		{dialect.AnyEngine, "/generate", `{"input_ids":[1],"parameters":{}}`, `{"sampling_params":{"max_new_tokens":12},"input_ids":[1],"parameters":{}}`},
		{dialect.AnyEngine, "/generate", `{"text":null,"inputs":"a"}`, `{"parameters":{"max_new_tokens":12},"text":null,"inputs":"a"}`},
		{dialect.SGLang, "/generate", `{"inputs":"a","parameters":{"max_new_tokens":5}}`, `{"sampling_params":{"max_new_tokens":12},"inputs":"a","parameters":{"max_new_tokens":5}}`},
		{dialect.VLLM, "/generate", `{"inputs":"a"}`, `{"parameters":{"max_new_tokens":12},"inputs":"a"}`},
		{dialect.AnyEngine, "/v1/completions", `{"prompt":["a","b","c"]}`, `{"max_tokens":4,"prompt":["a","b","c"]}`},
		{dialect.VLLM, "/v1/completions", `{"n_predict":5}`, `{"max_tokens":12,"n_predict":5}`},
		{dialect.AnyEngine, "/v1/chat/completions", `{"max_tokens":null}`, `{"max_completion_tokens":12,"max_tokens":12}`},
		{dialect.Ollama, "/v1/chat/completions", `{"max_completion_tokens":5}`, `{"max_tokens":12,"max_completion_tokens":5}`},
		{dialect.Ollama, "/v1/chat/completions", `{"max_completion_tokens":"x"}`, `{"max_tokens":12,"max_completion_tokens":"x"}`},
		{dialect.TGI, "/v1/chat/completions", `{}`, `{"max_tokens":12}`},
		{dialect.VLLM, "/v1/chat/completions", `{}`, `{"max_completion_tokens":12,"max_tokens":12}`},
		{dialect.AnyEngine, "/v1/responses", `{"max_tokens":5}`, `{"max_output_tokens":12,"max_tokens":5}`},
		{dialect.AnyEngine, "/v1/messages", `{}`, `{"max_tokens":12}`},
		{dialect.AnyEngine, "/completion", `{"prompt":["a","b"]}`, `{"n_predict":6,"prompt":["a","b"]}`},
		{dialect.AnyEngine, "/api/generate", `{"prompt":"a"}`, `{"options":{"num_predict":12},"prompt":"a"}`},
		{dialect.AnyEngine, "/api/chat", `{"options":{"seed":1}}`, `{"options":{"num_predict":12,"seed":1}}`},
		{dialect.AnyEngine, "/v1/embeddings", `{"input":"a"}`, `{"input":"a"}`},
	} {
		for form, env := range opened(t, tt.model) {
			what := fmt.Sprintf("%s %s %s", form, tt.route, tt.model)
			work, err := env.Work(dialect.Of(tt.route), tt.engine)
			require.NoError(t, err, what)
			require.False(t, work.Stated, what)
			payload, ok := env.WithLimit(dialect.Of(tt.route), tt.engine, cost(t, "12.5"))
			require.True(t, ok, what)
			require.Equal(t, tt.payload, string(payload), what)
		}
	}
}

func TestZeroIsNoLimitToOllama(t *testing.T) {
	for _, env := range opened(t, `{"max_tokens":0}`) {
		work, err := env.Work(dialect.Of("/v1/completions"), dialect.Ollama)
		require.ErrorContains(t, err, "max_tokens is 0")
		require.True(t, work.Exceeds(cost(t, "9")))
	}
}

func TestEachRowRefusesWhatStandsTwice(t *testing.T) {
	for route, model := range map[string]string{
		"/generate": `{"sampling_params":{"n":1,"n":2}}`, "/generate_stream": `{"sampling_params":{},"sampling_params":{}}`,
		"/v1/completions": `{"prompt":["a","b"],"prompt":"a"}`, "/v1/responses": `{"max_output_tokens":1,"max_output_tokens":null}`,
		"/v1/messages": `{"max_tokens":null,"max_tokens":1}`, "/completion": `{"n_cmpl":1,"n_cmpl":1}`,
		"/api/chat": `{"options":{"num_predict":1,"num\u005fpredict":9}}`, "/api/generate": `{"options":{},"options":{"num_predict":9}}`,
	} {
		env, err := Parse([]byte(`{"auth_data":{`+aTicket+`},"payload":`+model+`}`), Options{})
		require.NoError(t, err)
		_, err = env.Work(dialect.Of(route), dialect.AnyEngine)
		require.ErrorIs(t, err, ErrDuplicateMember, model)
		_, err = env.Work(dialect.Of("/v1/embeddings"), dialect.AnyEngine)
		require.NoError(t, err)
	}
	for route, object := range map[string]string{"/generate": "sampling_params", "/api/chat": "options"} {
		for _, env := range opened(t, `{"`+object+`":[{"max_new_tokens":1}]}`) {
			_, err := env.Work(dialect.Of(route), dialect.AnyEngine)
			require.ErrorContains(t, err, object+" is not an object")
		}
	}
}

// Ollama is written in Go, whose encoding/json matches names in any case and keeps
// the last of several: a limit in another case would override the one that was
// inserted.
func TestLimitInAnotherCase(t *testing.T) {
	for _, tt := range []struct {
		engine       dialect.Engine
		route, model string
		refused      string
	}{
		{dialect.AnyEngine, "/v1/chat/completions", `{"Max_Tokens":9999}`, "max_tokens must"},
		{dialect.AnyEngine, "/v1/chat/completions", `{"max_tokens":1,"MAX_TOKENS":9999}`, "max_tokens must"},
		{dialect.Ollama, "/v1/completions", `{"max_to\u212aens":9999}`, "max_tokens must"},
		{dialect.AnyEngine, "/api/chat", `{"OPTIONS":{"num_predict":-1}}`, "options.num_predict must"},
		{dialect.AnyEngine, "/api/generate", `{"option\u017f":{"num_predict":-1}}`, "options.num_predict must"},
		{dialect.AnyEngine, "/v1/messages", `{"mAx_tokens":1}`, "max_tokens must"},
		{dialect.AnyEngine, "/v1/responses", `{"Max_Output_Tokens":1}`, "max_output_tokens must"},
		{dialect.VLLM, "/v1/chat/completions", `{"Max_Tokens":9999}`, ""},
		{dialect.AnyEngine, "/completion", `{"N_Predict":9999}`, ""},
		{dialect.AnyEngine, "/generate", `{"Parameters":{"max_new_tokens":9999}}`, ""},
		{dialect.AnyEngine, "/v1/chat/completions", `{"Messages":[],"N":3,"Ünknown":1,"x":{"MAX_TOKENS":1}}`, ""},
	} {
		for form, env := range opened(t, tt.model) {
			work, err := env.Work(dialect.Of(tt.route), tt.engine)
			if tt.refused == "" {
				require.NoError(t, err, "%s %s", form, tt.model)
				require.False(t, work.Stated)
				continue
			}
			require.ErrorIs(t, err, ErrInvalidTicket, "%s %s", form, tt.model)
			require.ErrorContains(t, err, tt.refused)
		}
	}
}
