package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTracing(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"
	for name, test := range map[string]struct {
		more    []string
		on      bool
		warning string
	}{
		"nothing":             {nil, false, ""},
		"a name alone":        {[]string{"OTEL_SERVICE_NAME=x"}, false, ""},
		"endpoint":            {[]string{endpoint}, true, ""},
		"endpoint of traces":  {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c/v1/traces"}, true, ""},
		"empty endpoint":      {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, false, ""},
		"disabled":            {[]string{endpoint, "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		"no exporter":         {[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		"the protocol we use": {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, true, ""},
		"another protocol":    {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc"},
		"another, of no use":  {[]string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(append([]string{"USHER_ENDPOINT=e", "USHER_WORKER_URL=http://w", "USHER_PUBLIC_KEY_URL=https://a/pubkey/"}, test.more...))
			require.NoError(t, err)
			require.Equal(t, test.on, cfg.Tracing)
			said := strings.Join(cfg.Warnings, "\n")
			if test.warning == "" {
				require.NotContains(t, said, "OTEL_")
			} else {
				require.Contains(t, said, test.warning)
			}
		})
	}
}
