package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// mistakes reports a fault for each setting that says where something is (form:"place"
// in settings: a URL, a path, an address) and contains an obvious mistake.
func (l *loader) mistakes() {
	v := reflect.ValueOf(l.text)
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("form") == "place" {
			l.mistaken(tag.Get("env"), v.Field(i).String())
		}
	}
}

// mistaken reports a fault for a URL, path, address, or list of them that contains an
// unexpanded variable, quotes or a space. It returns whether it did. Further faults of
// that variable are then not reported.
func (l *loader) mistaken(variable, text string) bool {
	for _, item := range list(text) {
		if strings.HasSuffix(variable, "_ROUTES") { // a method may stand before the path
			item = strings.TrimPrefix(strings.TrimLeft(item, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), " ")
		}
		problem := ""
		switch {
		case strings.ContainsAny(item, "$({"):
			problem = "holds " + strconv.Quote(string(item[strings.IndexAny(item, "$({")])) + ": a variable seems not to have been expanded"
		case strings.ContainsAny(item, quotes):
			problem = "contains a quote, which an env file makes part of the value; remove it"
		case strings.ContainsFunc(item, unicode.IsSpace):
			problem = "contains a space; remove it"
		default:
			continue
		}
		l.fault(variable, "%q %s", item, problem)
		if l.mistook == nil {
			l.mistook = make(map[string]bool)
		}
		l.mistook[variable] = true
		return true
	}
	return false
}

// quotes are what people and their editors put around a value.
const quotes = "\"'`“”‘’"

// isQuoted reports whether a text begins and ends with a quote.
func isQuoted(text string) bool {
	r := []rune(text)
	return len(r) > 1 && strings.ContainsRune(quotes, r[0]) && strings.ContainsRune(quotes, r[len(r)-1])
}

// serviceLinks removes from vars what Kubernetes sets for the Services of a
// namespace, such as WORKER_PORT=tcp://10.96.3.4:3000 for a Service named worker.
// It returns the names of those that would have been read or that look like ours.
func serviceLinks(vars map[string]string) []string {
	var links []string
	for name, value := range vars {
		scheme, _, ok := strings.Cut(value, "://")
		if !ok || !slices.Contains([]string{"tcp", "udp", "sctp"}, scheme) || isSetting(name) || strings.HasPrefix(name, "OTEL_") {
			continue
		}
		delete(vars, name)
		if strings.HasPrefix(name, "USHER_") || isForeign(name) {
			links = append(links, name)
		}
		// The other variables of the same Service are named after it.
		if service, ok := strings.CutSuffix(name, "_PORT"); ok && strings.HasPrefix(service+"_", "USHER_") {
			for other := range vars {
				if rest, ok := strings.CutPrefix(other, service); ok && !isSetting(other) &&
					(strings.HasPrefix(rest, "_PORT_") || strings.HasPrefix(rest, "_SERVICE_")) {
					delete(vars, other)
				}
			}
		}
	}
	// Of the variables of one Service, name only the first.
	slices.Sort(links)
	return slices.DeleteFunc(links, func(name string) bool {
		return slices.ContainsFunc(links, func(link string) bool { return strings.HasPrefix(name, link+"_") })
	})
}

func isSetting(name string) bool {
	return slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Name == name })
}

// isForeign reports whether a variable is read although its name is not ours,
// because other workers use it too.
func isForeign(name string) bool {
	return slices.Contains([]string{"WORKER_PORT", "PUBLIC_IPADDR", "USE_SSL", "REPORT_ADDR", "MODEL_HEALTH_ENDPOINT"}, name) ||
		strings.HasPrefix(name, "VAST_TCP_PORT_")
}
