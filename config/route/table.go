package route

import (
	"slices"
	"strings"

	"github.com/usher-sidecar/usher/dialect"
)

// An Entry is one served route.
type Entry struct {
	Route
	Open  bool         // needs no ticket
	Label string       // the route as configured, for logs and metrics
	api   *dialect.API // of its path; nil for a wildcard, where it depends on the path
}

// A Table finds the route of a request. Make it with NewTable; safe for
// concurrent use.
type Table struct {
	exact map[string][]*Entry // by path
	below []*Entry            // wildcards, the longest paths first
}

// NewTable makes a Table of signed and open routes.
func NewTable(signed, open []Route) *Table {
	t := &Table{exact: make(map[string][]*Entry, len(signed)+len(open))}
	add := func(routes []Route, open bool) {
		for _, r := range routes {
			e := &Entry{Route: r, Open: open, Label: r.String()}
			if r.Below {
				t.below = append(t.below, e)
			} else {
				e.api = r.API()
				t.exact[r.Path] = append(t.exact[r.Path], e)
			}
		}
	}
	add(signed, false)
	add(open, true)
	slices.SortStableFunc(t.below, func(a, b *Entry) int { return len(b.Path) - len(a.Path) })
	return t
}

// Find returns the route that serves a request: the one with exactly this path,
// else the longest wildcard; nil if there is none.
func (t *Table) Find(method string, path []byte) *Entry {
	for _, e := range t.exact[string(path)] {
		if e.allows(method) {
			return e
		}
	}
	for _, e := range t.below {
		if e.allows(method) && e.holds(path) {
			return e
		}
	}
	return nil
}

// Near returns a route with this path and any method; nil if there is none.
func (t *Table) Near(path []byte) *Entry {
	if entries := t.exact[string(path)]; len(entries) > 0 {
		return entries[0]
	}
	for _, e := range t.below {
		if e.holds(path) {
			return e
		}
	}
	return nil
}

// API returns the API that a request to a path of this route speaks.
func (e *Entry) API(method string, path []byte) *dialect.API {
	if e.api != nil {
		return e.api
	}
	return dialect.OfRequest(method, string(path))
}

// allows reports whether the route serves a method.
func (e *Entry) allows(method string) bool {
	return method == e.Method || e.Method == "" && (method == "GET" || method == "HEAD")
}

// holds reports whether a path is below the wildcard.
func (e *Entry) holds(path []byte) bool {
	return len(path) > len(e.Path) && string(path[:len(e.Path)]) == e.Path && isBelow(path[len(e.Path):])
}

// Allowed lists the methods of a path as the fields Allow and
// Access-Control-Allow-Methods do; "" if the path is not a route.
func (t *Table) Allowed(path []byte) string {
	var has []string
	for _, e := range t.exact[string(path)] {
		has = append(has, e.Methods()...)
	}
	for _, e := range t.below {
		if e.holds(path) {
			has = append(has, e.Methods()...)
		}
	}
	var list []string
	for _, m := range methods {
		if slices.Contains(has, m) {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}
