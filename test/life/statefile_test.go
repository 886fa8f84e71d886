package life

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Whatever happens to the state file of a running worker, it goes on serving, names
// the file in the log, lets no second worker have the path, and makes the file anew:
// after a SIGKILL every spent ticket is still refused.
func TestStateFileIsDamagedWhileServing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		harm func(path string) error
		says string
	}{
		"truncated": {func(path string) error { return os.Truncate(path, 0) }, "was truncated"},
		"removed":   {os.Remove, "was removed"},
		"replaced": {func(path string) error {
			if err := os.WriteFile(path+".other", bytes.Repeat([]byte("x"), 32<<10), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".other", path)
		}, "was replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rig.NewSigner(t)
			path := filepath.Join(t.TempDir(), "window")
			with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_STATE_FILE": path, "USHER_REORDER_HOLD": "0"})
			u := rig.Start(t, with).Ready()
			require.Equal(t, 200, u.Post("/generate", s.Numbered(1).Flat("")).Status)
			require.NoError(t, tt.harm(path))
			harmed := time.Now()

			status, said := rig.Stops(t, with)
			require.Equal(t, 2, status, said)
			require.Contains(t, said, "in use")
			for n := int64(2); n < 40; n++ {
				require.Equal(t, 200, u.Post("/generate", s.Numbered(n).Flat("")).Status)
			}
			line := u.WaitLine("was damaged while in use; it was recreated")
			var at struct{ Time time.Time }
			require.NoError(t, json.Unmarshal([]byte(line), &at))
			require.Less(t, at.Time.Sub(harmed), 10*time.Second)
			require.Contains(t, line, `"level":"error"`)
			require.Contains(t, line, path)
			require.Contains(t, line, tt.says)
			require.Equal(t, 1.0, u.Metric("usher_state_file_faults_total"))
			_, page := u.Get("/status.json")
			require.Contains(t, page, tt.says)

			require.Equal(t, 200, u.Post("/generate", s.Numbered(50).Flat("")).Status)
			u.Kill()
			require.NotContains(t, strings.Join(u.Log(), "\n"), "goroutine ")
			u = rig.Start(t, with).Ready()
			for _, n := range []int64{1, 2, 39, 50} {
				require.Equal(t, "reqnum_replayed", u.Post("/generate", s.Numbered(n).Flat("")).Code(), "number %d", n)
			}
			require.Equal(t, 200, u.Post("/generate", s.Numbered(45).Flat("")).Status)
		})
	}
}
