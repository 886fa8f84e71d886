package operators

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Profiles are served where USHER_PPROF_ADDR says so, and nowhere else.
func TestProfiles(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.Admin+"/debug/pprof/"))
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.Public+"/debug/pprof/"))
	require.NotContains(t, strings.Join(u.Log(), "\n"), "profiles")

	u = rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_PPROF_ADDR": "127.0.0.1:0"})).Ready()
	var said struct{ Addr string }
	require.NoError(t, json.Unmarshal([]byte(u.WaitLine(`"msg":"profiles are served"`)), &said))
	for _, path := range []string{"", "heap", "allocs", "goroutine", "cmdline", "profile?seconds=1"} {
		require.Equal(t, http.StatusOK, statusOf(t, "http://"+said.Addr+"/debug/pprof/"+path), path)
	}
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.Admin+"/debug/pprof/"))
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}
