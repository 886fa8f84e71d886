package config

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every setting that says where something is has form:"place".
func TestPlacesAreMarked(t *testing.T) {
	place := regexp.MustCompile(`_(URL|FILE|ADDR|PATH|ROUTES|ORIGINS|PROXIES)$`)
	fields := reflect.TypeFor[settings]()
	found := 0
	for i := range fields.NumField() {
		tag := fields.Field(i).Tag
		if place.MatchString(tag.Get("env")) {
			found++
			require.Equal(t, "place", tag.Get("form"), tag.Get("env"))
		}
	}
	require.Greater(t, found, 10)
}

// In every setting that says where something is, an obvious mistake is reported once,
// with what is expected.
func TestMistakesInPlaces(t *testing.T) {
	key := publicKey(t)
	fields := reflect.TypeFor[settings]()
	for i := range fields.NumField() {
		variable := fields.Field(i).Tag.Get("env")
		if fields.Field(i).Tag.Get("form") != "place" {
			continue
		}
		good := "http://h:3000"
		if strings.HasSuffix(variable, "_ROUTES") {
			good = "/a,POST /b"
		}
		for value, want := range map[string]string{
			"http://$(HOST_IP):3000":     `"http://$(HOST_IP):3000" holds "$": a variable seems not to have been expanded`,
			"/var/${NAME}/x":             `holds "$"`,
			"http://{{ .Values.host }}/": `holds "{"`,
			"/x(1)":                      `holds "("`,
			`"http://h:3000"`:            `"\"http://h:3000\"" contains a quote, which an env file makes part of the value; remove it`,
			`'/x'`:                       `contains a quote`,
			`“/x”`:                       `contains a quote`,
			"/x\u00a0y":                  `contains a space; remove it`,
			"/my keys/x":                 `"/my keys/x" contains a space; remove it`,
			good + ", /x $y":             `"/x $y" holds "$"`,
		} {
			environ := append(base(key), variable+"="+value)
			if strings.HasPrefix(variable, "USHER_PUBLIC_KEY") {
				environ = []string{"USHER_ENDPOINT=E", "USHER_WORKER_URL=any", variable + "=" + value}
			}
			_, err := Load(environ)
			var faults Faults
			require.True(t, errors.As(err, &faults), "%s=%s", variable, value)
			said := 0
			for _, f := range faults {
				if f.Variable == variable {
					said++
					require.Contains(t, f.Problem, want, "%s=%s", variable, value)
				}
			}
			require.Equal(t, 1, said, "%s=%s: %v", variable, value, err)
		}
	}
}

func TestMistakesElsewhere(t *testing.T) {
	key := "USHER_PUBLIC_KEY=" + publicKey(t)
	for _, tt := range []struct {
		environ []string
		want    string
	}{
		{[]string{`USHER_ENDPOINT="my-llama"`}, `USHER_ENDPOINT: "my-llama" is in quotes, which an env file makes part of the value; remove them`},
		{[]string{`USHER_ENDPOINT='a, b'`}, `USHER_ENDPOINT: 'a, b' is in quotes`},
		{[]string{`USHER_ENDPOINT=a,"b"`}, `USHER_ENDPOINT: a,"b" is in quotes`},
		{[]string{`USHER_UPSTREAM_AUTHORIZATION="Bearer secret"`}, `USHER_UPSTREAM_AUTHORIZATION: is in quotes`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" is not an address like http://collector:4318`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=10.0.0.1:4318"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "10.0.0.1:4318" is not an address`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "localhost" is not an address`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=tcp://c:4318"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "tcp://c:4318" is not an address`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://:4318"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "http://:4318" is not an address`},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://$(IP):4318/v1/traces"}, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://$(IP):4318/v1/traces" holds "$"`},
		{[]string{"PUBLIC_IPADDR=$(IP)", "VAST_TCP_PORT_3000=1"}, `PUBLIC_IPADDR: "$(IP)" holds "$"`},
		{[]string{"MODEL_HEALTH_ENDPOINT=http://$(IP)/health"}, `MODEL_HEALTH_ENDPOINT: "http://$(IP)/health" holds "$"`},
		{[]string{`REPORT_ADDR="https://a.example"`}, `REPORT_ADDR: "\"https://a.example\"" contains a quote`},
	} {
		environ := append([]string{"USHER_ENDPOINT=E"}, tt.environ...)
		if !strings.HasPrefix(tt.environ[0], "PUBLIC_IPADDR") {
			environ = append(environ, "USHER_WORKER_URL=any")
		}
		if !strings.HasPrefix(tt.environ[0], "REPORT_ADDR") {
			environ = append(environ, key)
		}
		_, err := Load(environ)
		var faults Faults
		require.True(t, errors.As(err, &faults), tt.environ)
		require.Len(t, faults, 1, "%v: %v", tt.environ, err)
		require.ErrorContains(t, err, tt.want, tt.environ)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, environ := range [][]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_SDK_DISABLED=TRUE"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_TRACES_EXPORTER=none"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://[::1]:4318"},
		{`USHER_ENDPOINT=the "big" one, it's`},
		{`USHER_UPSTREAM_AUTHORIZATION=Bearer $(x`},
		{"MODEL_HEALTH_ENDPOINT=$(X)", "USHER_HEALTH_PATH=/h"},
	} {
		load(t, environ...)
	}
}

// A mistake is reported together with all other faults, each once.
func TestMistakesAndFaultsAtOnce(t *testing.T) {
	_, err := Load([]string{
		"USHER_WORKER_URL=http://$(IP):3000", `USHER_ENDPOINT="E"`, "USHER_UPSTREAM_URL=http://h:$PORT", "USHER_STATE_FILE=/no folder/x",
		"USHER_QUEUE_BYTES=1MB", `USHER_PUBLIC_KEY_FILE="/etc/key.pem"`, "USHER_TLS_CERT_FILE=/${X}", "USHER_TLS_KEY_FILE=/${Y}",
	})
	var faults Faults
	require.True(t, errors.As(err, &faults))
	var named []string
	for _, f := range faults {
		named = append(named, f.Variable)
	}
	require.ElementsMatch(t, []string{
		"USHER_WORKER_URL", "USHER_ENDPOINT", "USHER_UPSTREAM_URL", "USHER_STATE_FILE", "USHER_QUEUE_BYTES", "USHER_PUBLIC_KEY_FILE",
		"USHER_TLS_CERT_FILE", "USHER_TLS_KEY_FILE",
	}, named)
}

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "16777216": 16 << 20, "16MiB": 16 << 20, "1GiB": 1 << 30, "3KiB": 3 << 10, "2TiB": 2 << 40, "9223372036854775807": 1<<63 - 1, "8388607TiB": 8388607 << 40,
	} {
		require.Equal(t, want, load(t, "USHER_QUEUE_BYTES="+text).QueueBytes, text)
	}
	for _, text := range []string{"16MB", "16M", "16 MiB", "16mib", "MiB", "-1MiB", "+1", "1.5GiB", "1MiBMiB", "8388608TiB", "9223372036854775808", "1e6", "0x10", "1_000"} {
		_, err := Load(append(base(publicKey(t)), "USHER_QUEUE_BYTES="+text))
		require.ErrorContains(t, err, "USHER_QUEUE_BYTES: ", text)
		require.ErrorContains(t, err, "16MiB or 1GiB", text)
	}
	require.Equal(t, 1<<30, load(t, "USHER_MAX_BODY_BYTES=1GiB").MaxBodyBytes)
	_, err := Load(append(base(publicKey(t)), "USHER_MAX_BODY_BYTES=2GiB"))
	require.ErrorContains(t, err, "from 1 to 1073741824")
}

// Kubernetes' variables for a Service whose name makes them look like ours change
// nothing, and a warning names them.
func TestServiceLinks(t *testing.T) {
	c := load(t,
		"WORKER_PORT=tcp://10.96.3.4:3000", "WORKER_PORT_3000_TCP=tcp://10.96.3.4:3000", "WORKER_SERVICE_HOST=10.96.3.4",
		"KUBERNETES_PORT=tcp://10.96.0.1:443",
		"USHER_PORT=tcp://10.96.3.5:3000", "USHER_PORT_3000_TCP=tcp://10.96.3.5:3000", "USHER_PORT_3000_TCP_ADDR=10.96.3.5", "USHER_SERVICE_HOST=10.96.3.5",
		"USHER_ADMIN_PORT=tcp://10.96.3.6:9090", "USHER_ADMIN_PORT_9090_TCP_PROTO=tcp", "USHER_ADMIN_SERVICE_PORT_HTTP=9090", "USHER_ADMIN_ADDR=:9091",
		"REPORT_ADDR=tcp://10.96.3.7:80",
	)
	require.Equal(t, ":3000", c.ListenAddr)
	require.Equal(t, ":9091", c.AdminAddr, "one of ours stays")
	require.Equal(t, []string{
		"REPORT_ADDR, USHER_ADMIN_PORT, USHER_PORT, WORKER_PORT: set by Kubernetes for a Service of that name, and ignored; " +
			"enableServiceLinks: false keeps such variables away",
	}, c.Warnings)
	require.Len(t, load(t, "USHER_PORT=3000").Warnings, 1, "nobody but its author set that")
	_, err := Load(append(base(publicKey(t)), "USHER_UPSTREAM_URL=tcp://h:1"))
	require.ErrorContains(t, err, "USHER_UPSTREAM_URL: must be http://host:port or unix:/path")
}
