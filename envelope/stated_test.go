package envelope

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

func TestStatedWork(t *testing.T) {
	for _, c := range []struct {
		path, body string
		amount     float64
		stated     bool
	}{
		{"/generate", `{"inputs":"x","parameters":{"max_new_tokens":256,"best_of":2}}`, 512, true},
		{"/v1/completions", `{"prompt":"x","max_tokens":1e3}`, 1000, true},
		{"/v1/completions", `{"prompt":["x","y","z"],"max_tokens":10,"n":2}`, 60, true},
		{"/v1/completions", `{"prompt":"x"}`, 0, false},
		{"/other", `{"max_tokens":7}`, 0, false},
	} {
		work, err := StatedWork([]byte(c.body), dialect.Of(c.path), dialect.AnyEngine)
		require.NoError(t, err, c.body)
		require.Equal(t, c.stated, work.Stated, c.body)
		require.Equal(t, c.amount, work.Amount(), c.body)
	}
	_, err := StatedWork([]byte(`[1]`), dialect.Of("/generate"), dialect.AnyEngine)
	require.ErrorIs(t, err, ErrInvalidJSON)
	_, err = StatedWork([]byte(`{"parameters":{"max_new_tokens":-1}}`), dialect.Of("/generate"), dialect.AnyEngine)
	require.ErrorIs(t, err, ErrInvalidTicket)
}
