package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever is done to the state file of a running worker, it serves on, says so
// with the file's name, lets no second worker have the path, and makes the file
// anew: after a SIGKILL every spent ticket is still refused.
func TestStateFileIsHarmed(t *testing.T) {
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
			s := newSigner(t)
			path := filepath.Join(t.TempDir(), "window")
			with := settings(newModel(t, nil), s).with(env{"USHER_STATE_FILE": path, "USHER_REORDER_HOLD": "0"})
			u := start(t, with).ready()
			require.Equal(t, 200, u.post("/generate", s.numbered(1).flat("")).status)
			require.NoError(t, tt.harm(path))
			harmed := time.Now()

			status, said := stops(t, with)
			require.Equal(t, 2, status, said)
			require.Contains(t, said, "in use")
			for n := int64(2); n < 40; n++ {
				require.Equal(t, 200, u.post("/generate", s.numbered(n).flat("")).status)
			}
			line := u.waitLine("was harmed while in use; it was made anew")
			require.Less(t, time.Since(harmed), 10*time.Second)
			require.Contains(t, line, `"level":"error"`)
			require.Contains(t, line, path)
			require.Contains(t, line, tt.says)
			require.Equal(t, 1.0, u.metric("usher_state_file_faults_total"))
			_, page := u.get("/status.json")
			require.Contains(t, page, tt.says)

			require.Equal(t, 200, u.post("/generate", s.numbered(50).flat("")).status)
			u.kill()
			require.NotContains(t, strings.Join(u.log(), "\n"), "goroutine ")
			u = start(t, with).ready()
			for _, n := range []int64{1, 2, 39, 50} {
				require.Equal(t, "reqnum_replayed", u.post("/generate", s.numbered(n).flat("")).code(), "number %d", n)
			}
			require.Equal(t, 200, u.post("/generate", s.numbered(45).flat("")).status)
		})
	}
}
