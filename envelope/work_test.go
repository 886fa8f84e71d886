package envelope

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

// opened parses a model's body, flat and nested.
func opened(t *testing.T, model string) map[string]*Envelope {
	t.Helper()
	flat := strings.Replace(model, "{", `{`+aTicket+`,`, 1)
	if model == "{}" {
		flat = `{` + aTicket + `}`
	}
	forms := map[string]*Envelope{}
	for form, body := range map[string]string{"flat": flat, "nested": `{"auth_data":{` + aTicket + `},"payload":` + model + `}`} {
		env, err := Parse([]byte(body), Options{})
		require.NoError(t, err, body)
		forms[form] = &env
	}
	return forms
}

func TestWork(t *testing.T) {
	for _, tt := range []struct {
		route   string
		model   string
		cost    string
		stated  bool
		exceeds bool
	}{
		{"/generate", `{"parameters":{"max_new_tokens":256}}`, "256", true, false},
		{"/generate", `{"parameters":{"max_new_tokens":257}}`, "256", true, true},
		{"/generate", `{"parameters":{"max_new_tokens":257}}`, "256.99", true, true},
		{"/generate", `{"parameters":{"max_new_tokens":1e2,"best_of":2.0}}`, "200", true, false},
		{"/generate", `{"parameters":{"max_new_tokens":101,"best_of":2}}`, "200", true, true},
		{"/generate", `{"parameters":{"max_new_tokens":null,"best_of":null}}`, "0", false, false},
		{"/generate", `{"parameters":{"max_new_tokens":5,"best_of":0}}`, "4", true, true},
		{"/generate", `{"parameters":null}`, "0", false, false},
		{"/generate", `{}`, "0", false, false},
		{"/generate", `{"max_tokens":9,"max_new_tokens":9}`, "0", false, false},
		{"/generate", `{"parameters":{"max_new_tokens":0}}`, "0", true, false},
		{"/generate", `{"parameters":{"max_new_tokens":9223372036854775807,"best_of":9223372036854775807}}`, "1e30", true, true},
		{"/generate", `{"parameters":{"max_new_tokens":9223372036854775807,"best_of":9223372036854775807}}`, "1e40", true, false},
		{"/generate", `{"parameters":{"max_new_tokens":9007199254740993}}`, "9007199254740992", true, true},
		{"/v1/chat/completions", `{"max_tokens":10}`, "10", true, false},
		{"/v1/chat/completions", `{"max_tokens":10,"max_completion_tokens":11}`, "10", true, true},
		{"/v1/chat/completions", `{"max_tokens":11,"max_completion_tokens":null}`, "10", true, true},
		{"/v1/chat/completions", `{"max_tokens":10,"n":2,"best_of":3}`, "29", true, true},
		{"/v1/chat/completions", `{"max_tokens":10,"n":3,"best_of":2}`, "30", true, false},
		{"/v1/completions", `{"max_completion_tokens":10,"best_of":2}`, "19", true, true},
		{"/v1/embeddings", `{"max_tokens":11,"n":-1}`, "10", false, false},
		{"/other", `{"max_tokens":11,"n":1.5}`, "10", false, false},
	} {
		for form, env := range opened(t, tt.model) {
			work, err := env.Work(dialect.Of(tt.route), dialect.AnyEngine)
			require.NoError(t, err, tt.model)
			require.Equal(t, tt.stated, work.Stated, "%s %s", form, tt.model)
			require.Equal(t, tt.exceeds, work.Exceeds(cost(t, tt.cost)), "%s %s for %s", form, tt.model, tt.cost)
		}
	}
}

// How many completions a request is to the model server, whatever their length.
func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		route, model string
		want         uint64
	}{
		{"/v1/completions", `{"max_tokens":7}`, 1},
		{"/v1/completions", `{"n":3,"prompt":["a","b"]}`, 6},
		{"/generate", `{"parameters":{"best_of":2}}`, 2},
		{"/generate", `{"sampling_params":{"n":9223372036854775807},"text":["a","b","c"]}`, math.MaxUint64},
		{"/v1/embeddings", `{"input":["a","b"]}`, 0},
		{"/other", `{"n":3}`, 0},
	} {
		for form, env := range opened(t, tt.model) {
			work, err := env.Work(dialect.Of(tt.route), dialect.AnyEngine)
			require.NoError(t, err, tt.model)
			require.Equal(t, tt.want, work.Runs(), "%s %s", form, tt.model)
		}
	}
}

func TestWorkThatCannotBeRead(t *testing.T) {
	for _, model := range []string{
		`{"parameters":{"max_new_tokens":-1}}`, `{"parameters":{"max_new_tokens":1.5}}`, `{"parameters":{"max_new_tokens":"9"}}`, `{"parameters":{"best_of":-0.0}}`,
		`{"parameters":{"max_new_tokens":true}}`, `{"parameters":[]}`, `{"parameters":"x"}`, `{"parameters":{"max_new_tokens":1e400}}`,
		`{"parameters":{"max_new_tokens":` + strings.Repeat("9", 500) + `}}`, `{"parameters":{"max_new_tokens":-0}}`,
	} {
		for _, env := range opened(t, model) {
			_, err := env.Work(dialect.Of("/generate"), dialect.AnyEngine)
			require.ErrorIs(t, err, ErrInvalidTicket, model)
		}
	}
	for _, env := range opened(t, `{"max_tokens":-1,"max_completion_tokens":"x","n":1.5,"best_of":1}`) {
		_, err := env.Work(dialect.Of("/v1/chat/completions"), dialect.AnyEngine)
		for _, name := range []string{"max_tokens", "max_completion_tokens", "n "} {
			require.ErrorContains(t, err, name, "all of them at once")
		}
		require.NotContains(t, err.Error(), "best_of")
	}
	for model, route := range map[string]string{
		`{"parameters":{"max_new_tokens":1,"max_new_tokens":1}}`:      "/generate",
		`{"parameters":{"max_new_tokens":1,"max\u005fnew_tokens":1}}`: "/generate",
		`{"parameters":{"best_of":null,"best_of":1}}`:                 "/generate",
	} {
		for _, env := range opened(t, model) {
			_, err := env.Work(dialect.Of(route), dialect.AnyEngine)
			require.ErrorIs(t, err, ErrDuplicateMember, model)
			_, err = env.Work(dialect.Of("/v1/chat/completions"), dialect.AnyEngine)
			require.NoError(t, err, "not the members that this route states work in")
		}
	}
	for model, route := range map[string]string{
		`{"max_tokens":1,"max_tokens":1}`: "/v1/chat/completions", `{"n":1,"\u006e":1}`: "/v1/completions", `{"parameters":{},"parameters":{}}`: "/generate",
	} {
		env, err := Parse([]byte(`{"auth_data":{`+aTicket+`},"payload":`+model+`}`), Options{})
		require.NoError(t, err)
		_, err = env.Work(dialect.Of(route), dialect.AnyEngine)
		require.ErrorIs(t, err, ErrDuplicateMember, model)
	}
}

func TestWithLimit(t *testing.T) {
	for _, tt := range []struct {
		route             string
		model, cost, want string // "": the cost leaves none
	}{
		{"/generate", `{"inputs":"a"}`, "256", `{"parameters":{"max_new_tokens":256},"inputs":"a"}`},
		{"/generate", `{}`, "256.9", `{"parameters":{"max_new_tokens":256}}`},
		{"/generate", `{"parameters": { } ,"x":1}`, "7", `{"parameters": {"max_new_tokens":7 } ,"x":1}`},
		{"/generate", `{"parameters":{"best_of":3}}`, "256", `{"parameters":{"max_new_tokens":85,"best_of":3}}`},
		{"/generate", `{"parameters":null}`, "7", `{"parameters":{"max_new_tokens":7}}`},
		{"/generate", `{"parameters":{"a":1,"max_new_tokens": null }}`, "7", `{"parameters":{"a":1,"max_new_tokens": 7 }}`},
		{"/v1/completions", `{"prompt":"a","n":2}`, "7", `{"max_tokens":3,"prompt":"a","n":2}`},
		{"/v1/completions", `{"max_tokens":null}`, "7", `{"max_tokens":7}`},
		{"/v1/chat/completions", `{"n":1}`, "1", `{"max_completion_tokens":1,"max_tokens":1,"n":1}`},
		{"/v1/chat/completions", `{"n":2}`, "1", ``},
		{"/generate", `{}`, "0.99", ``},
		{"/generate", `{}`, "0", ``},
		{"/generate", `{}`, "1e300", `{"parameters":{"max_new_tokens":9223372036854775807}}`},
		{"/v1/embeddings", `{"input":"a"}`, "1", `{"input":"a"}`},
		{"/other", `{}`, "0", `{}`},
	} {
		for form, env := range opened(t, tt.model) {
			got, ok := env.WithLimit(dialect.Of(tt.route), dialect.AnyEngine, cost(t, tt.cost))
			require.Equal(t, tt.want != "", ok, "%s %s", form, tt.model)
			if ok {
				require.Equal(t, tt.want, string(got), form)
			}
		}
	}
}
