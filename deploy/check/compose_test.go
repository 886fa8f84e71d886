package check

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/stretchr/testify/require"
)

// Each compose file is loaded as docker compose loads it, with extends, defaults and
// variables, and keeps its promises.
func TestComposeFiles(t *testing.T) {
	files, err := filepath.Glob("../compose/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 6)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			options, err := cli.NewProjectOptions([]string{file}, cli.WithEnv([]string{
				"USHER_ENDPOINT=e", "USHER_WORKER_URL=http://203.0.113.7:3000", "USHER_PUBLIC_KEY_URL=https://a.example/pubkey/",
			}), cli.WithName("worker"))
			require.NoError(t, err)
			project, err := options.LoadProject(t.Context())
			require.NoError(t, err)
			usher := project.Services["usher"]
			requireKnown(t, usher.Environment)
			require.Equal(t, []string{"CMD", "/usher", "healthcheck"}, []string(usher.HealthCheck.Test))
			require.GreaterOrEqual(t, time.Duration(*usher.StopGracePeriod), 125*time.Second, "the drain fits in")
			for _, p := range usher.Ports {
				require.True(t, p.Target != 9090 || p.HostIP == "127.0.0.1", "the admin port is published")
			}
			if filepath.Base(file) == "usher.yaml" {
				return
			}
			model := project.Services["model"]
			require.Empty(t, model.Ports, "the model server is published")
			require.NotEmpty(t, model.HealthCheck.Test)
			require.Contains(t, usher.DependsOn, "model", "Usher is stopped first")
			require.Equal(t, "http://203.0.113.7:3000", *usher.Environment["USHER_WORKER_URL"])
			require.Equal(t, strings.TrimSuffix(filepath.Base(file), ".yaml"), *usher.Environment["USHER_ENGINE"])
			require.Contains(t, *usher.Environment["USHER_UPSTREAM_URL"], "http://model:"+model.Expose[0])
		})
	}
	// Required settings have no default.
	options, err := cli.NewProjectOptions([]string{"../compose/vllm.yaml"}, cli.WithName("worker"))
	require.NoError(t, err)
	_, err = options.LoadProject(t.Context())
	require.ErrorContains(t, err, "USHER_")
}
