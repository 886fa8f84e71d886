package dialect

// The table: each API once, then the paths that speak it.
var (
	generate = &API{
		Limits: []Member{ParametersMaxNewTokens}, Copies: []Member{ParametersBestOf}, Insert: []Member{ParametersMaxNewTokens},
		Operation: "text_completion", Provider: "tgi",
	}
	completions = &API{
		Limits: openAILimits, Copies: openAICopies, Insert: []Member{MaxTokens},
		Errors: OpenAI, Operation: "text_completion", Provider: "openai",
	}
	chat = &API{
		Limits: openAILimits, Copies: openAICopies, Insert: []Member{MaxCompletionTokens},
		Errors: OpenAI, Operation: "chat", Provider: "openai",
	}
	unknown = &API{Operation: Other, Provider: Other}

	openAILimits = []Member{MaxTokens, MaxCompletionTokens}
	openAICopies = []Member{N, BestOf}
)

var exact = map[string]*API{
	"/generate":            generate,
	"/generate_stream":     generate,
	"/v1/completions":      completions,
	"/v1/chat/completions": chat,
	"/v1/embeddings":       openAI("embeddings"),
}

// patterns are tried in turn for any other path.
var patterns = []struct {
	prefix, suffix string
	api            *API
}{
	{"/v1/", "/chat/completions", openAI("chat")},
	{"/v1/", "/completions", openAI("text_completion")},
	{"/v1/", "/embeddings", openAI("embeddings")},
	{"/v1/", "", openAI(Other)},
	{"", "/chat/completions", &API{Operation: "chat", Provider: Other}},
	{"", "/completions", &API{Operation: "text_completion", Provider: Other}},
	{"", "/embeddings", &API{Operation: "embeddings", Provider: Other}},
}

// openAI is any other route below /v1/.
func openAI(operation string) *API {
	return &API{Limits: openAILimits, Copies: openAICopies, Errors: OpenAI, Operation: operation, Provider: "openai"}
}
