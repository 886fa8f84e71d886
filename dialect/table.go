package dialect

// The table: first each API, then the paths that speak it. llama.cpp's server accepts
// its own names for the limit and for the number of completions on all routes
// (field_num("n_predict") and ("n_cmpl") in its server-schema.cpp); Ollama reads
// only max_tokens on OpenAI's.
var (
	generate = &API{
		Limits:    []Reading{{ParametersMaxNewTokens, TGI}, {SamplingMaxNewTokens, SGLang}},
		Copies:    []Member{ParametersBestOf, SamplingN},
		Prompts:   []Member{Text, InputIDs},
		Insert:    []Reading{{ParametersMaxNewTokens, TGI}, {SamplingMaxNewTokens, SGLang}},
		Signs:     []Reading{{Text, SGLang}, {InputIDs, SGLang}},
		Usual:     TGI,
		Ending:    endGenerate,
		Operation: "text_completion", Provider: "tgi",
	}
	completions = &API{
		Limits:  []Reading{{MaxTokens, everyEngine}, {MaxCompletionTokens, LlamaCPP}, {NPredict, LlamaCPP}},
		Copies:  []Member{N, BestOf, NCompletions},
		Prompts: []Member{Prompt},
		Insert:  []Reading{{MaxTokens, everyEngine}},
		Errors:  OpenAI, Ending: endOpenAI, Operation: "text_completion", Provider: "openai",
	}
	// Several engines read only the older of the two names. To TGI the newer one is an
	// alias (of serde), so both together are a duplicate.
	chat = &API{
		Limits: []Reading{{MaxTokens, everyEngine}, {MaxCompletionTokens, VLLM | SGLang | TGI | LlamaCPP}, {NPredict, LlamaCPP}},
		Copies: []Member{N, BestOf, NCompletions},
		Insert: []Reading{{MaxTokens, everyEngine}, {MaxCompletionTokens, VLLM | SGLang | LlamaCPP}},
		Errors: OpenAI, Ending: endOpenAI, Operation: "chat", Provider: "openai",
	}
	responses = &API{
		Limits: []Reading{{MaxOutputTokens, everyEngine}},
		Insert: []Reading{{MaxOutputTokens, everyEngine}},
		Errors: OpenAI, Ending: endResponses, Operation: "chat", Provider: "openai",
	}
	messages = &API{
		Limits: []Reading{{MaxTokens, everyEngine}},
		Insert: []Reading{{MaxTokens, everyEngine}},
		Errors: Anthropic, Ending: endMessages, Operation: "chat", Provider: "anthropic",
	}
	llamaCompletion = &API{
		Limits:      []Reading{{NPredict, LlamaCPP}, {MaxTokens, LlamaCPP}, {MaxCompletionTokens, LlamaCPP}},
		Copies:      []Member{NCompletions, N},
		Prompts:     []Member{Prompt},
		Insert:      []Reading{{NPredict, LlamaCPP}},
		ZeroEndless: true,
		Operation:   "text_completion", Provider: "llamacpp",
	}
	ollamaChat       = ollama("chat")
	ollamaGenerate   = ollama("text_completion")
	ollamaEmbeddings = &API{Operation: "embeddings", Provider: "ollama"}

	unknown = &API{Operation: Other, Provider: Other}
)

// ollama returns the API of one of Ollama's own routes. Its clients read the member
// "error", which the plain shape has.
func ollama(operation string) *API {
	return &API{
		Limits:      []Reading{{OptionsNumPredict, Ollama}},
		Insert:      []Reading{{OptionsNumPredict, Ollama}},
		ZeroEndless: true,
		Ending:      endOllama,
		Operation:   operation, Provider: "ollama",
	}
}

var exact = map[string]*API{
	"/generate":            generate,
	"/generate_stream":     generate,
	"/v1/completions":      completions,
	"/v1/chat/completions": chat,
	"/v1/responses":        responses,
	"/v1/messages":         messages,
	"/v1/embeddings":       openAI("embeddings"),
	"/completion":          llamaCompletion,
	"/completions":         llamaCompletion,
	"/api/generate":        ollamaGenerate,
	"/api/chat":            ollamaChat,
	"/api/embed":           ollamaEmbeddings,
	"/api/embeddings":      ollamaEmbeddings,
}

// patterns are tried in turn for any other path. The work is not known there, since the
// path may belong to another API that ends the same.
var patterns = []struct {
	prefix, suffix string
	api            *API
}{
	{"/v1/messages/", "", &API{Errors: Anthropic, Operation: Other, Provider: "anthropic"}},
	{"/v1/", "/chat/completions", openAI("chat")},
	{"/v1/", "/completions", openAI("text_completion")},
	{"/v1/", "/embeddings", openAI("embeddings")},
	{"/v1/", "", openAI(Other)},
	{"", "/chat/completions", &API{Operation: "chat", Provider: Other}},
	{"", "/completions", &API{Operation: "text_completion", Provider: Other}},
	{"", "/embeddings", &API{Operation: "embeddings", Provider: Other}},
}

// openAI returns the API of any other route below /v1/.
func openAI(operation string) *API {
	return &API{Errors: OpenAI, Ending: endOpenAI, Operation: operation, Provider: "openai"}
}
