// Package dialect knows the APIs that model servers speak: one row an API, with
// its routes, where in a request its work is stated, and the shape in which its
// clients read an error. It is data, and knows neither HTTP nor a request.
package dialect

import "strings"

// An API is a row of the table. It is not to be changed.
type API struct {
	// The work that a request asks for is the largest of Limits times the
	// largest of Copies. Insert is where the limit is put if none stands: as
	// the first member of all, so the last one of the list stands first. An API
	// without Limits states no work that is known.
	Limits, Copies, Insert []Member

	Errors Shape // of a refusal

	// The operation and provider of OpenTelemetry's conventions for generative
	// AI (gen_ai.operation.name, gen_ai.provider.name). The provider tells the
	// flavour of the API, as the conventions have it, not who runs the model.
	Operation, Provider string
}

// Other is the conventions' word for what has no name of its own.
const Other = "_OTHER"

// Of finds the API of a path by its bytes; no path is without one.
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
