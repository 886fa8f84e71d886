package config

import (
	"net/http"
	"slices"
	"strings"

	"github.com/usher-sidecar/usher/config/route"
)

// mostOpen bounds USHER_OPEN_CONCURRENCY.
const mostOpen = 1 << 16

// noRoutes turns open routes off, including those of a preset.
const noRoutes = "none"

// readRoutes reads which of the model server's paths are served.
func readRoutes(l *loader) {
	c, t := l.cfg, &l.text
	c.Routes = readRouteList(l, "USHER_ROUTES", t.Routes, route.Parse)
	if len(list(t.Routes)) == 0 {
		l.fault("USHER_ROUTES", "lists no route")
	}
	if !strings.EqualFold(t.OpenRoutes, noRoutes) {
		c.OpenRoutes = readRouteList(l, "USHER_OPEN_ROUTES", t.OpenRoutes, route.ParseOpen)
	}
	c.OpenConcurrency = int(l.integer("USHER_OPEN_CONCURRENCY", t.OpenConcurrency, 1, mostOpen))
	c.OpenRoutes = slices.DeleteFunc(c.OpenRoutes, func(open route.Route) bool {
		i := slices.IndexFunc(c.Routes, open.Overlaps)
		if i >= 0 && l.vars["USHER_OPEN_ROUTES"] != "" { // a preset's open route is dropped silently
			l.fault("USHER_OPEN_ROUTES", "%q overlaps %q of USHER_ROUTES, which needs a ticket", open, c.Routes[i])
		}
		return i >= 0
	})
}

// readRouteList reads a list of routes without duplicates.
func readRouteList(l *loader, variable, text string, parse func(string) (route.Route, error)) (routes []route.Route) {
	for _, item := range list(text) {
		switch r, err := parse(item); {
		case err != nil:
			l.fault(variable, "%q %s", item, err)
		case slices.Contains(routes, r):
			l.fault(variable, "%q is listed twice", item)
		default:
			routes = append(routes, r)
		}
	}
	return routes
}

// unboundRoutes are the routes on which the work asked for is not known.
func (c *Config) unboundRoutes() (names []string) {
	for _, r := range c.Routes {
		if len(r.API().Limits) == 0 {
			names = append(names, r.String())
		}
	}
	return names
}

// maskedRoutes returns the routes that Usher answers itself, for GET and HEAD: its
// own health.
func (c *Config) maskedRoutes() (names []string) {
	for _, r := range slices.Concat(c.Routes, c.OpenRoutes) {
		if (r.Path == "/health" || r.Path == "/ping") && !r.Below && !slices.Contains(r.Methods(), http.MethodPost) {
			names = append(names, r.String())
		}
	}
	return names
}
