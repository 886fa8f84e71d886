package life

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A state file that is another worker's, damaged or in use stops the start, is named
// in the error, and is left as it was.
func TestStateFileFaults(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	path := filepath.Join(t.TempDir(), "window")
	with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_STATE_FILE": path, "USHER_REPLAY_WINDOW": "100"})
	u := rig.Start(t, with).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Numbered(7).Flat("")).Status)
	status, said := rig.Stops(t, with)
	require.Equal(t, 2, status)
	require.Contains(t, said, path)
	require.Contains(t, said, "in use")
	u.Kill()
	good, err := os.ReadFile(path)
	require.NoError(t, err)

	for says, more := range map[string]rig.Env{
		"endpoint":    {"USHER_ENDPOINT": "another"},
		"worker url":  {"USHER_WORKER_URL": "http://203.0.113.8:3000"},
		"window size": {"USHER_REPLAY_WINDOW": "101"},
	} {
		status, said := rig.Stops(t, with.With(more))
		require.Equal(t, 2, status, says)
		require.Contains(t, said, path)
		require.Contains(t, said, says)
	}
	damages := map[string][]byte{"empty": {}, "half": good[:len(good)/2], "a byte more": append(bytes.Clone(good), 0), "text": []byte("hello")}
	for at := range good {
		if !full.Run() && at%32 != 3 || rig.RaceEnabled && at%8 != 3 {
			continue // the same code, and each a process
		}
		if at < 136 || at%509 == 3 || at/8%512 < 20 && at%8 == 3 { // the header, and samples of the rest
			flipped := bytes.Clone(good)
			flipped[at] ^= 0x10
			damages[fmt.Sprintf("byte %d", at)] = flipped
		}
	}
	for name, content := range damages {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		status, said := rig.Stops(t, with)
		require.Equal(t, 2, status, name)
		require.Contains(t, said, path, name)
		require.Contains(t, said, "damaged", name)
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, kept, "%s: the file was changed", name)
	}
	require.NoError(t, os.WriteFile(path, good, 0o600))
	u = rig.Start(t, with).Ready()
	require.Equal(t, "reqnum_replayed", u.Post("/generate", s.Numbered(7).Flat("")).Code())
	require.Equal(t, 200, u.Post("/generate", s.Numbered(6).Flat("")).Status)
}

// If the file cannot be made, the error names it: here because of a file size limit,
// which behaves like a full disk.
func TestStateFileCannotBeMade(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	dir := t.TempDir()
	with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_STATE_FILE": filepath.Join(dir, "window")})
	cmd := exec.Command("/bin/sh", "-c", "ulimit -f 8; exec "+rig.Binary)
	cmd.Env = with.List()
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 2, cmd.ProcessState.ExitCode(), "%s", said)
	require.Contains(t, string(said), filepath.Join(dir, "window"))
	require.NotContains(t, string(said), "goroutine")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	for _, path := range []string{dir, filepath.Join(dir, "missing", "window"), "/dev/null"} {
		status, said := rig.Stops(t, with.With(rig.Env{"USHER_STATE_FILE": path}))
		require.Equal(t, 2, status, path)
		require.Contains(t, said, path)
	}
}

// However often the process is killed while it serves, every ticket that was answered
// or reached the model server is refused from then on.
func TestKilledWhileServing(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	with := rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": filepath.Join(t.TempDir(), "window"), "USHER_REPLAY_WINDOW": "256", "USHER_REORDER_HOLD": "0"})
	random := rand.New(rand.NewPCG(1, 1))
	kills := full.Or(3, 24)
	if rig.RaceEnabled {
		kills = min(kills, 6)
	}
	tag := func(n int64) string { return fmt.Sprintf(`{"inputs":"n%d"}`, n) }
	next := int64(1)
	for range kills {
		u := rig.Start(t, with).Ready()
		var clients sync.WaitGroup
		reached := len(m.Arrivals()) + random.IntN(120) // somewhere in the middle; any place will do
		first := next
		last := first + 150
		for client := range int64(3) {
			clients.Go(func() {
				for n := first + client; n < last; n += 3 {
					if !tryPost(u, "/generate", s.Numbered(n).Flat(fmt.Sprintf(`"inputs":"n%d"`, n))) {
						return
					}
				}
			})
		}
		require.Eventually(t, func() bool { return len(m.Arrivals()) >= reached }, rig.Patience, time.Millisecond)
		u.Kill()
		clients.Wait()
		next = last

		served := map[string]bool{}
		for _, a := range m.Arrivals() {
			require.False(t, served[a.Body], "%s twice", a.Body)
			served[a.Body] = true
		}
		u = rig.Start(t, with).Ready()
		for n := max(1, last-200); n < last; n++ {
			if served[tag(n)] {
				require.Contains(t, []string{"reqnum_replayed", "reqnum_stale"}, u.Post("/generate", s.Numbered(n).Flat("")).Code(), "number %d", n)
			}
		}
		u.Kill()
	}
}

// tryPost is Post to a process that may die meanwhile; it reports whether there was an
// answer.
func tryPost(u *rig.Usher, path string, body []byte) bool {
	resp, err := (&http.Client{Timeout: rig.Patience}).Post("http://"+u.Public+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}
