package dialect

// An Engine is a model server, or a set of them. Engines differ in which members they
// read.
type Engine uint8

// The engines.
const (
	VLLM Engine = 1 << iota
	SGLang
	TGI
	LlamaCPP
	Ollama

	AnyEngine   Engine = 0 // it is not known which
	everyEngine        = VLLM | SGLang | TGI | LlamaCPP | Ollama
)
