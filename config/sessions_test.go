package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSessions(t *testing.T) {
	require.Zero(t, load(t).MaxSessions)
	require.Equal(t, 100, load(t, "USHER_MAX_SESSIONS=100", "USHER_ROUTES=/generate,/session/list,GET /session/get,/session/*").MaxSessions)
	load(t, "USHER_ROUTES=/session/create")
	for _, wrong := range []string{"-1", "many", "1048577", "1.5"} {
		_, err := Load(append(base(publicKey(t)), "USHER_MAX_SESSIONS="+wrong))
		require.ErrorContains(t, err, "USHER_MAX_SESSIONS")
	}
	_, err := Load(append(base(publicKey(t)), "USHER_MAX_SESSIONS=1", "USHER_ROUTES=/generate,/session/end"))
	require.ErrorContains(t, err, "USHER_ROUTES: /session/end is reserved for sessions")
}
