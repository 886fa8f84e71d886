package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// mistakes faults each setting that says where something is (form:"place" in
// settings: a url, a path, an address) and holds what none of them does.
func (l *loader) mistakes() {
	v := reflect.ValueOf(l.text)
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("form") == "place" {
			l.mistaken(tag.Get("env"), v.Field(i).String())
		}
	}
}

// mistaken reports a fault for a url, path, address, or list of them that has an
// unexpanded variable, an env file's quotes, or a blank in it. It returns whether
// it did, so that no other fault is reported for that variable.
func (l *loader) mistaken(variable, text string) bool {
	for _, item := range list(text) {
		if strings.HasSuffix(variable, "_ROUTES") { // a method may stand before the path
			item = strings.TrimPrefix(strings.TrimLeft(item, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), " ")
		}
		problem := ""
		switch {
		case strings.ContainsAny(item, "$({"):
			problem = "holds " + strconv.Quote(string(item[strings.IndexAny(item, "$({")])) + ": it seems that a variable was not filled in"
		case strings.ContainsAny(item, quotes):
			problem = "holds a quote: those of an env file are part of its value; write it without"
		case strings.ContainsFunc(item, unicode.IsSpace):
			problem = "holds a blank; write it without"
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

// isQuoted reports whether a text is quoted from end to end.
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
		// The others of the same Service, which are named after it, too.
		if service, ok := strings.CutSuffix(name, "_PORT"); ok && strings.HasPrefix(service+"_", "USHER_") {
			for other := range vars {
				if rest, ok := strings.CutPrefix(other, service); ok && !isSetting(other) &&
					(strings.HasPrefix(rest, "_PORT_") || strings.HasPrefix(rest, "_SERVICE_")) {
					delete(vars, other)
				}
			}
		}
	}
	// What is named after one that stands in the list says nothing more.
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
