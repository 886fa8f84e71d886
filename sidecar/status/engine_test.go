package status

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEngineLoad(t *testing.T) {
	half := 0.456
	for want, e := range map[string]Engine{
		"it reports no figures": {},
		"/metrics answered 404": {Fault: "/metrics answered 404"},
		"3 running, 1 waiting":  {Known: true, Running: 3, Waiting: 1},
		"3 running, 0 waiting, 46 % of its cache in use, 2 that no client of Usher is waiting for": {Known: true, Running: 3, Cache: &half, Orphans: 2},
	} {
		require.Equal(t, want, e.Load())
	}
}
