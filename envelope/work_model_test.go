package envelope

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
)

// routes has one of each API that states work.
var routes = []string{
	"/generate", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages",
	"/completion", "/completions", "/api/generate", "/api/chat",
}

var engines = []dialect.Engine{
	dialect.AnyEngine, dialect.VLLM, dialect.SGLang, dialect.TGI, dialect.LlamaCPP, dialect.Ollama,
}

// A model of a request and of what it asks for: the largest limit that the engine
// reads × the larger count × the number of prompts.
type request struct {
	route   string
	engine  dialect.Engine
	numbers map[dialect.Member]int64 // -1: null
	prompts map[dialect.Member]string
}

var promptForms = map[string]int64{
	`"a"`: 1, `""`: 0, `null`: 0, `[]`: 0, `["a"]`: 1, `["a","b"]`: 2, `[1,2,3]`: 1, `[[1],[2],[3,4]]`: 3, `[1,"a"]`: 1, `[" ]","[\"",{"x":[1]}]`: 3,
}

func drawRequest(t *rapid.T) request {
	r := request{
		route: rapid.SampledFrom(routes).Draw(t, "route"), engine: rapid.SampledFrom(engines).Draw(t, "engine"),
		numbers: map[dialect.Member]int64{}, prompts: map[dialect.Member]string{},
	}
	for m := dialect.Body + 1; m < dialect.MemberCount; m++ {
		if m.Kind() == dialect.Object || !rapid.Bool().Draw(t, "stated") {
			continue
		}
		if m.Kind() == dialect.Number {
			r.numbers[m] = rapid.OneOf(rapid.Int64Range(-1, 9), rapid.Int64Range(1, 1<<62)).Draw(t, m.String())
		} else {
			r.prompts[m] = rapid.SampledFrom(sortedKeys(promptForms)).Draw(t, m.String())
		}
	}
	return r
}

func sortedKeys(m map[string]int64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// json writes the request's body.
func (r request) json() string {
	objects := map[string]any{}
	for m, n := range r.numbers {
		in := objects
		if m.In() != dialect.Body {
			if objects[m.In().Name()] == nil {
				objects[m.In().Name()] = map[string]any{}
			}
			in = objects[m.In().Name()].(map[string]any)
		}
		in[m.Name()] = n
		if n < 0 {
			in[m.Name()] = nil
		}
	}
	for m, literal := range r.prompts {
		objects[m.Name()] = json.RawMessage(literal)
	}
	b, err := json.Marshal(objects)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// asked returns limit × multiplier, whether a limit is stated, and whether nothing
// bounds the work.
func (r request) asked() (work, multiplier *big.Int, stated, endless bool) {
	api := dialect.Of(r.route)
	var limit, copies, prompts int64 = 0, 1, 0
	engine := api.Known(r.engine)
	flavour := engine
	if engine == dialect.AnyEngine && strings.HasPrefix(r.route, "/generate") {
		flavour = dialect.TGI
		for m, literal := range r.prompts {
			if (m == dialect.Text || m == dialect.InputIDs) && literal != "null" {
				flavour = dialect.SGLang
			}
		}
	}
	for _, l := range api.Limits {
		n, ok := r.numbers[l.Member]
		if !ok || n < 0 || !l.By(engine) {
			continue
		}
		limit, stated = max(limit, n), stated || l.By(flavour)
		ollamaOrLlama := strings.HasPrefix(r.route, "/api/") || strings.HasPrefix(r.route, "/completion") || engine == dialect.Ollama
		endless = endless || n == 0 && ollamaOrLlama
	}
	for _, m := range api.Copies {
		copies = max(copies, r.numbers[m])
	}
	for _, m := range api.Prompts {
		prompts += promptForms[r.prompts[m]]
	}
	multiplier = new(big.Int).Mul(big.NewInt(copies), big.NewInt(max(prompts, 1)))
	return new(big.Int).Mul(big.NewInt(limit), multiplier), multiplier, stated, endless
}

// For any request on any route of any engine, the work is what the rules say, and
// an inserted limit is the largest that the cost covers.
func TestWorkIsWhatTheRulesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		env, err := Parse([]byte(`{"auth_data":{`+aTicket+`},"payload":`+r.json()+`}`), Options{})
		require.NoError(t, err)
		api, wanted := dialect.Of(r.route), rapid.OneOf(rapid.Float64Range(0, 200), rapid.Float64Range(0, 1e40)).Draw(t, "cost")
		c, err := parseCost(fmt.Sprint(wanted))
		require.NoError(t, err)
		covered, _ := new(big.Float).SetFloat64(c.Float64()).Int(nil)

		work, err := env.Work(api, r.engine)
		asked, multiplier, stated, endless := r.asked()
		require.Equal(t, endless, err != nil)
		require.Equal(t, stated, work.Stated)
		require.Equal(t, endless || asked.Cmp(covered) > 0, work.Exceeds(c))
		if err != nil || stated {
			return
		}
		checkInserted(t, api, r.engine, &env, c, new(big.Int).Quo(covered, multiplier))
	})
}

// checkInserted checks that the new payload differs from the old one only in the
// limit, which is most.
func checkInserted(t require.TestingT, api *dialect.API, engine dialect.Engine, env *Envelope, c crypto.Cost, most *big.Int) {
	payload, ok := env.WithLimit(api, engine, c)
	require.Equal(t, most.Sign() > 0, ok)
	if !ok {
		return
	}
	if !most.IsInt64() {
		most.SetInt64(1<<63 - 1)
	}
	again, err := Parse([]byte(`{"auth_data":{`+aTicket+`},"payload":`+string(payload)+`}`), Options{})
	require.NoError(t, err)
	work, err := again.Work(api, engine)
	require.NoError(t, err)
	require.True(t, work.Stated)
	inserted := 0
	for m := range dialect.MemberCount {
		if m.Kind() == dialect.Number && again.limits.state[m] != env.limits.state[m] {
			require.Equal(t, most.Uint64(), again.limits.value[m], m.String())
			inserted++
		}
	}
	require.Positive(t, inserted)
}

// FuzzWithLimit: the payload is unchanged except for one limit, which is the
// largest that the cost covers.
func FuzzWithLimit(f *testing.F) {
	for i, seed := range []string{
		`{}`, `{"parameters":{"best_of":3}}`, `{"parameters":null,"n":2}`, `{"max_tokens":null,"best_of":7}`, `{ "a" : {"parameters":{}} }`,
		`{"text":["a"],"sampling_params":{"n":2}}`, `{"options":{"num_predict":null},"prompt":[[1],[2]]}`,
	} {
		f.Add(seed, "256.5", byte(i))
		f.Add(seed, "1e3", byte(9*i+2))
	}
	f.Fuzz(func(t *testing.T, model, literal string, which byte) {
		api, engine := dialect.Of(routes[int(which)%len(routes)]), engines[int(which)/len(routes)%len(engines)]
		env, err := Parse([]byte(`{"auth_data":{`+aTicket+`},"payload":`+model+`}`), Options{})
		if err != nil {
			return
		}
		work, err := env.Work(api, engine)
		if err != nil || work.Stated {
			return
		}
		c, err := parseCost(literal)
		if err != nil {
			return
		}
		most := new(big.Int).Quo(wholePart(c), new(big.Int).SetUint64(work.copies))
		checkInserted(t, api, engine, &env, c, most.Quo(most, new(big.Int).SetUint64(work.prompts)))
		if payload, ok := env.WithLimit(api, engine, c); ok {
			require.True(t, json.Valid(payload), "%s", payload)
		}
	})
}
