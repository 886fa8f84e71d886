// Package route says which requests are served, by method and path. Paths are compared
// byte by byte, as they arrived. A served path has only one spelling, so none can
// escape its route.
package route

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/usher-sidecar/usher/dialect"
)

// A Route is one item of a list of routes. Make it with Parse or ParseOpen.
type Route struct {
	Method string // "": GET and HEAD, which is for open routes
	Path   string // of a wildcard: with the slash at its end, without the star
	Below  bool   // a wildcard, which serves everything below Path
}

// methods are those that a route may have. CONNECT, OPTIONS and TRACE are about
// the connection and the server, not about a model.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// Errors of Parse and ParseOpen complete a sentence that begins with the item.
var (
	errPath     = errors.New("is not a plain path like /generate")
	errWildcard = errors.New("has a star that is not its whole last segment, as in /v1/*")
	errOpen     = errors.New("has a method other than GET and HEAD, which an open route cannot have")
)

// Parse reads "[METHOD ]/path". The default method is POST.
func Parse(text string) (Route, error) { return parse(text, http.MethodPost) }

// ParseOpen reads "[METHOD ]/path" of an open route. The method may be GET or HEAD;
// the default is both.
func ParseOpen(text string) (Route, error) {
	r, err := parse(text, "")
	if err == nil && !slices.Contains([]string{"", http.MethodGet, http.MethodHead}, r.Method) {
		err = errOpen
	}
	return r, err
}

func parse(text, method string) (Route, error) {
	p := text
	if named, rest, ok := strings.Cut(text, " "); ok {
		if !slices.Contains(methods, named) {
			return Route{}, fmt.Errorf("has a method that is not one of %s", strings.Join(methods, ", "))
		}
		method, p = named, rest
	}
	p, below := strings.CutSuffix(p, "*")
	switch {
	case strings.Contains(p, "*"), below && !strings.HasSuffix(p, "/"):
		return Route{}, errWildcard
	case !plain(p):
		return Route{}, errPath
	}
	return Route{Method: method, Path: p, Below: below}, nil
}

// plain reports whether a path has only one spelling, so that it can be compared
// byte by byte.
func plain(p string) bool {
	if !strings.HasPrefix(p, "/") || path.Clean(p) != p && path.Clean(p)+"/" != p {
		return false
	}
	for _, r := range p {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`%?#"\<>^{|}`+"`", r) {
			return false
		}
	}
	return true
}

// String returns the route as it is configured. POST is left out, and so are GET
// and HEAD if it has both.
func (r Route) String() string {
	text := r.Path
	if r.Below {
		text += "*"
	}
	if r.Method != "" && r.Method != http.MethodPost {
		text = r.Method + " " + text
	}
	return text
}

// Methods returns the methods that the route serves.
func (r Route) Methods() []string {
	if r.Method == "" {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.Method}
}

// API returns the API that the route's path speaks. Below a wildcard it is not
// known.
func (r Route) API() *dialect.API {
	if r.Below {
		return dialect.Of("")
	}
	return dialect.OfRequest(r.Methods()[0], r.Path)
}

// Overlaps reports whether some request matches both routes.
func (r Route) Overlaps(o Route) bool {
	shared := slices.ContainsFunc(r.Methods(), func(m string) bool { return slices.Contains(o.Methods(), m) })
	return shared && (r.covers(o) || o.covers(r))
}

// covers reports whether r serves a path that o serves, methods aside.
func (r Route) covers(o Route) bool {
	if !r.Below {
		return !o.Below && r.Path == o.Path
	}
	return strings.HasPrefix(o.Path, r.Path) && (o.Below || len(o.Path) > len(r.Path))
}

// Names returns the routes as they are configured.
func Names(routes []Route) []string {
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.String()
	}
	return names
}

// Posts reports whether one of the routes is POST to exactly this path.
func Posts(routes []Route, path string) bool {
	return slices.Contains(routes, Route{Method: http.MethodPost, Path: path})
}
