// Package dialect is a table of the APIs that model servers offer. Each row has the
// API's paths, the members of a request that state work, and the form of errors that
// its clients expect. It is only data and knows nothing about HTTP.
package dialect

import "strings"

// An API is a row of the table. It must not be changed.
type API struct {
	// The work of a request is the largest of Limits, times the largest of Copies,
	// times the number of prompts. Without Limits the work is not known.
	Limits  []Reading
	Copies  []Member
	Prompts []Member

	// Insert lists the members that are inserted if a request states no limit. Each is
	// put in front, so the last one ends up first.
	Insert []Reading

	// If engines accept different bodies on the same path, Signs are the members that
	// tell them apart. A body with none of them is for the Usual engine.
	Signs []Reading
	Usual Engine

	ZeroEndless bool // a limit of 0 means no limit

	Errors Shape   // the form of errors
	Ending *Ending // marks the final event of a stream; nil: none is known

	// The operation and provider of OpenTelemetry's conventions for generative
	// AI (gen_ai.operation.name, gen_ai.provider.name). As the conventions define it,
	// the provider is the flavour of the API, not who runs the model.
	Operation, Provider string
}

// A Reading is a member together with the engines that read it.
type Reading struct {
	Member
	by Engine
}

// By reports whether the engine reads the member. AnyEngine might.
func (r Reading) By(e Engine) bool { return e == AnyEngine || r.by&e != 0 }

// ByFolded reports whether the engine (with AnyEngine: some engine) reads the member
// also under a name that differs in case.
func (r Reading) ByFolded(e Engine) bool { return r.by&Ollama != 0 && (e == AnyEngine || e == Ollama) }

// Engine returns the engines that read it.
func (r Reading) Engine() Engine { return r.by }

// Known returns e, or AnyEngine if e reads no limit of this API, because then some
// other engine must be answering.
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

// Other is the conventions' value for anything they have no name for.
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

// OfRequest is Of for a request with this method. Only POST asks for work.
func OfRequest(method, path string) *API {
	api := Of(path)
	if method == "POST" || len(api.Limits) == 0 {
		return api
	}
	return idle[api]
}

// idle has, for each API, the API of requests to the same path that ask for no work.
var idle = func() map[*API]*API {
	m := make(map[*API]*API)
	for _, api := range exact {
		m[api] = &API{Errors: api.Errors, Operation: Other, Provider: api.Provider}
	}
	return m
}()
