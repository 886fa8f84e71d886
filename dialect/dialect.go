// Package dialect is a table of the APIs that model servers speak. Each row has the
// API's routes, where in a request the work is stated, and the shape of errors that
// its clients expect. It is only data and knows nothing of HTTP.
package dialect

import "strings"

// An API is a row of the table. It must not be changed.
type API struct {
	// The work of a request is the largest of Limits, times the largest of Copies,
	// times the number of prompts. Without Limits the work is not known.
	Limits  []Reading
	Copies  []Member
	Prompts []Member

	// Insert is where a limit is inserted if there is none. Each becomes the first
	// member, so the last one ends up first.
	Insert []Reading

	// Signs tell whose body it is where engines take different ones on the same
	// path; it is the Usual engine's if there is none of them.
	Signs []Reading
	Usual Engine

	ZeroEndless bool // a limit of 0 is taken for none

	Errors Shape   // of a refusal
	Ending *Ending // of a stream; nil: none is known

	// The operation and provider of OpenTelemetry's conventions for generative
	// AI (gen_ai.operation.name, gen_ai.provider.name). The provider tells the
	// flavour of the API, as the conventions have it, not who runs the model.
	Operation, Provider string
}

// A Reading is a member, and which engines read it.
type Reading struct {
	Member
	by Engine
}

// By reports whether the engine reads the member. AnyEngine might.
func (r Reading) By(e Engine) bool { return e == AnyEngine || r.by&e != 0 }

// ByFolded reports whether the engine, or with AnyEngine one of them, reads the
// member under a name that differs in case, too.
func (r Reading) ByFolded(e Engine) bool { return r.by&Ollama != 0 && (e == AnyEngine || e == Ollama) }

// Engine returns whose member it is.
func (r Reading) Engine() Engine { return r.by }

// Known returns e, or AnyEngine if e reads no limit of this API, so that another
// engine must be answering.
func (a *API) Known(e Engine) Engine {
	for _, r := range a.Limits {
		if r.By(e) {
			return e
		}
	}
	return AnyEngine
}

// Endless reports whether a limit of 0 means no limit.
func (a *API) Endless(e Engine) bool { return a.ZeroEndless || e == Ollama }

// Other is the conventions' word for what has no name of its own.
const Other = "_OTHER"

// Of returns the API of a path. Every path has one.
func Of(path string) *API {
	if api, ok := exact[path]; ok {
		return api
	}
	for i := range patterns {
		p := &patterns[i]
		if len(path) >= len(p.prefix)+len(p.suffix) && strings.HasPrefix(path, p.prefix) && strings.HasSuffix(path, p.suffix) {
			return p.api
		}
	}
	return unknown
}

// OfRequest is Of for a request with this method: only POST asks for work.
func OfRequest(method, path string) *API {
	api := Of(path)
	if method == "POST" || len(api.Limits) == 0 {
		return api
	}
	return idle[api]
}

// idle are the APIs of requests that ask for no work, by the API whose path they
// share.
var idle = func() map[*API]*API {
	m := make(map[*API]*API)
	for _, api := range exact {
		m[api] = &API{Errors: api.Errors, Operation: Other, Provider: api.Provider}
	}
	return m
}()
