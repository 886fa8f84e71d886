package life

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A Service named worker sets WORKER_PORT=tcp://… in every pod of its namespace. The
// worker starts all the same, and says what it ignores.
func TestServiceLinksAreIgnored(t *testing.T) {
	t.Parallel()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{
		"WORKER_PORT": "tcp://10.96.3.4:3000", "WORKER_SERVICE_HOST": "10.96.3.4", "USHER_PORT": "tcp://10.96.3.5:3000", "USHER_SERVICE_HOST": "10.96.3.5",
	})).Ready()
	require.Contains(t, u.WaitLine("set by Kubernetes for a Service of that name"), "USHER_PORT, WORKER_PORT: ")
}

// What can only be a mistake stops the start, and all the mistakes are named, not just
// the first.
func TestMistakesStopTheStart(t *testing.T) {
	t.Parallel()
	status, _, said := rig.Command(t, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{
		"USHER_WORKER_URL": "http://$(HOST_IP):3000", "USHER_ENDPOINT": `"my-llama"`, "USHER_UPSTREAM_AUTHORIZATION": "'Bearer hush'",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318", "USHER_QUEUE_BYTES": "256MB", "USHER_MAX_BODY_BYTES": "16MiB",
	}), "")
	require.Equal(t, 2, status)
	for _, want := range []string{
		"5 wrong or missing", "USHER_WORKER_URL: ", "USHER_ENDPOINT: ", "USHER_UPSTREAM_AUTHORIZATION: ", "OTEL_EXPORTER_OTLP_ENDPOINT: ", "USHER_QUEUE_BYTES: ",
	} {
		require.Contains(t, said, want)
	}
	require.NotContains(t, said, "hush")
}
