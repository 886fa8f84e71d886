package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Profiles are served where USHER_PPROF_ADDR says so, and nowhere else.
func TestProfiles(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.admin+"/debug/pprof/"))
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.public+"/debug/pprof/"))
	require.NotContains(t, strings.Join(u.log(), "\n"), "profiles")

	u = start(t, settings(m, s).with(env{"USHER_PPROF_ADDR": "127.0.0.1:0"})).ready()
	var said struct{ Addr string }
	require.NoError(t, json.Unmarshal([]byte(u.waitLine(`"msg":"profiles are served"`)), &said))
	for _, path := range []string{"", "heap", "allocs", "goroutine", "cmdline", "profile?seconds=1"} {
		require.Equal(t, http.StatusOK, statusOf(t, "http://"+said.Addr+"/debug/pprof/"+path), path)
	}
	require.Equal(t, http.StatusNotFound, statusOf(t, "http://"+u.admin+"/debug/pprof/"))
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}
