package config

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-sidecar/usher/crypto"
)

// masked is shown in place of a secret.
const masked = "(set)"

// valuesInForce shows the settings as they are, defaults included.
func valuesInForce(l *loader) []Value {
	c := l.cfg
	v := reflect.ValueOf(l.text)
	shown := make([]Value, v.NumField())
	for i := range shown {
		shown[i] = Value{v.Type().Field(i).Tag.Get("env"), v.Field(i).String()}
	}
	set := func(name, value string) {
		i := slices.IndexFunc(shown, func(v Value) bool { return v.Name == name })
		shown[i].Value = value
	}
	set("USHER_LISTEN_ADDR", c.ListenAddr)
	if l.memory > 0 {
		set("USHER_QUEUE_BYTES", strconv.FormatInt(c.QueueBytes, 10))
		set("USHER_MAX_BODY_BYTES", strconv.Itoa(c.MaxBodyBytes))
		set("USHER_MAX_CONNECTIONS", strconv.Itoa(c.MaxConnections))
	}
	set("USHER_WORKER_URL", strings.Join(c.WorkerURLs, ","))
	if len(c.WorkerURLs) == 0 {
		set("USHER_WORKER_URL", "any")
	}
	set("USHER_HEALTH_PATH", c.HealthPath)
	for name, value := range c.TLS.inForce() {
		set(name, value)
	}
	set("USHER_PUBLIC_KEY_URL", strings.Join(c.PublicKeyURLs, ","))
	if c.PublicKey != "" {
		set("USHER_PUBLIC_KEY", shownKeys(c))
	}
	for name, value := range c.reportInForce() {
		set(name, value)
	}
	if c.UpstreamAuthorization != "" {
		set("USHER_UPSTREAM_AUTHORIZATION", masked)
	}
	return shown
}

// shownKeys returns what is shown of inline keys.
func shownKeys(c *Config) string {
	keys, err := crypto.ParsePinned([]byte(c.PublicKey), c.PublicKeyPin)
	if err != nil {
		return masked // a fault of its own
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Algorithm() + " " + k.Fingerprint().String()
	}
	return strings.Join(names, ", ")
}

// warnings names what weakens the protection.
func warnings(l *loader) []string {
	c := l.cfg
	var list []string
	for _, weak := range []struct {
		field crypto.Field
		what  string
	}{
		{crypto.FieldReqnum, "an accepted alternative does not sign reqnum: tickets verified by it can be replayed, and their order cannot be trusted"},
		{crypto.FieldCost, "an accepted alternative does not sign cost: a client can understate it"},
		{crypto.FieldEndpoint, "an accepted alternative does not sign endpoint: a ticket is good for every endpoint of this key"},
		{crypto.FieldURL, "an accepted alternative does not sign url: a ticket is good at every worker"},
	} {
		if !c.SignedFields.AlwaysSigns(weak.field) {
			list = append(list, "USHER_SIGNED_FIELDS: "+weak.what)
		}
	}
	if len(c.WorkerURLs) == 0 {
		list = append(list, "USHER_WORKER_URL is any: a ticket for another worker is accepted here, too")
	}
	if c.ReqnumResetAfter == 1 {
		list = append(list, "USHER_REQNUM_RESET_AFTER is 1: a single old ticket starts a new window")
	}
	if unbound := c.unboundRoutes(); c.CostPolicy == CostEnforce && len(unbound) > 0 {
		list = append(list, "USHER_COST_POLICY is enforce, but Usher does not know how these routes state their work, and does not check cost there: "+strings.Join(unbound, ", "))
	}
	if masked := c.maskedRoutes(); len(masked) > 0 {
		list = append(list, "Usher answers this itself, and the model server never sees it: "+strings.Join(masked, ", "))
	}
	if host, _, err := net.SplitHostPort(c.PprofAddr); err == nil && !isLoopback(host) {
		list = append(list, "USHER_PPROF_ADDR is not on loopback: anyone who can reach it can read profiles and slow this worker down")
	}
	for _, u := range c.PublicKeyURLs {
		if crypto.AllowedKeyURL(u, false) != nil {
			list = append(list, "USHER_PUBLIC_KEY_URL: "+u+" is fetched without TLS; only the pin vouches for the key")
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := l.vars[name]; c.Tracing && protocol != "" && protocol != "http/protobuf" {
			list = append(list, name+" is "+protocol+", but spans are sent as http/protobuf: the endpoint must take that (usually at port 4318)")
		}
	}
	if len(l.links) > 0 {
		list = append(list, strings.Join(l.links, ", ")+": set by Kubernetes for a Service of that name, and ignored; enableServiceLinks: false keeps such variables away")
	}
	list = append(list, memoryWarnings(l)...)
	list = append(list, engineWarnings(l)...)
	list = append(list, reportWarnings(l)...)
	list = append(list, benchmarkWarnings(l)...)
	return append(list, misspelt(l.vars)...)
}

// memoryWarnings warns about sizes that exceed the memory limit.
func memoryWarnings(l *loader) (list []string) {
	c := l.cfg
	if l.memory == 0 {
		return nil
	}
	if most := c.BodiesBytes / 2; int64(c.MaxBodyBytes) > most {
		list = append(list, fmt.Sprintf("USHER_MAX_BODY_BYTES is more than there is memory for: this process may be killed for a body of that size; set at most %d, or a memory limit of at least %d bytes", most, int64(c.MaxBodyBytes)*2*8/bodiesShare))
	}
	if c.QueueBytes > c.BodiesBytes {
		list = append(list, fmt.Sprintf("USHER_QUEUE_BYTES is more than there is memory for: all bodies together get %d bytes of it", c.BodiesBytes))
	}
	return list
}

// isLoopback reports whether a host is this machine's loopback.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// misspelt finds variables that begin with USHER_ but are not settings.
func misspelt(vars map[string]string) []string {
	known := make([]string, 0, 64)
	for _, s := range Settings() {
		known = append(known, s.Name)
	}
	var list []string
	for name := range vars {
		if !strings.HasPrefix(name, "USHER_") || slices.Contains(known, name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		hint := ""
		if distance(name, nearest) <= 3 {
			hint = "; did you mean " + nearest + "?"
		}
		list = append(list, fmt.Sprintf("%s is not a setting of Usher%s", name, hint))
	}
	slices.Sort(list)
	return list
}

// distance returns the Levenshtein distance of two short names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
