//go:build unix

package replay

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
)

func stateFile(t *testing.T) Config {
	t.Helper()
	return Config{
		Window: 100, Path: filepath.Join(t.TempDir(), "window"),
		Identity: Identity{Endpoints: []string{"a", "b"}, WorkerURLs: []string{"http://w"}},
	}
}

func TestFileIsForOneWorker(t *testing.T) {
	cfg := stateFile(t)
	l := open(t, cfg)
	_, err := Open(cfg)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, cfg.Path)
	require.NoError(t, l.Close())

	same := cfg
	same.Identity.Endpoints = []string{"b", "a"}
	l, err = Open(same)
	require.NoError(t, err, "the order of names does not matter")
	require.NoError(t, l.Close())
	for part, change := range map[string]func(*Config){
		"endpoint":    func(c *Config) { c.Identity.Endpoints = []string{"a"} },
		"worker url":  func(c *Config) { c.Identity.WorkerURLs = nil },
		"window size": func(c *Config) { c.Window++ },
	} {
		other := cfg
		change(&other)
		_, err := Open(other)
		require.ErrorIs(t, err, ErrForeign)
		require.ErrorContains(t, err, part)
		require.ErrorContains(t, err, cfg.Path)
	}
}

// Every byte of the file is checked: if any one changes, the file is refused.
func TestDamage(t *testing.T) {
	cfg := stateFile(t)
	l := open(t, cfg)
	for n := int64(1); n <= 150; n += 3 {
		r, err := l.Reserve(key(1), n)
		require.NoError(t, err)
		r.Commit()
	}
	require.NoError(t, l.Close())
	good, err := os.ReadFile(cfg.Path)
	require.NoError(t, err)
	file, err := os.OpenFile(cfg.Path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	write := func(at int, b byte) {
		_, err := file.WriteAt([]byte{b}, int64(at))
		require.NoError(t, err)
	}
	for i := range good {
		if i > pageSize+64 && i%7 != 0 && good[i] == 0 {
			continue // a sample of the padding is enough
		}
		write(i, good[i]^1<<(i%8))
		_, err := Open(cfg)
		require.ErrorIs(t, err, ErrDamaged, "byte %d", i)
		require.ErrorContains(t, err, cfg.Path)
		write(i, good[i])
	}
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(148, key(1)), ErrReplayed, "and undamaged it is taken")
	require.NoError(t, l.Close())

	for name, content := range map[string][]byte{
		"empty": nil, "short": good[:pageSize], "cut": good[:len(good)-1], "long": append(good, 0), "other": []byte(strings.Repeat("x", len(good))),
	} {
		require.NoError(t, os.WriteFile(cfg.Path, content, 0o600))
		_, err := Open(cfg)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
}

func TestFileFaults(t *testing.T) {
	cfg := stateFile(t)
	cfg.Path = filepath.Join(t.TempDir(), "missing", "window")
	_, err := Open(cfg)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, cfg.Path)
	cfg.Path = t.TempDir()
	_, err = Open(cfg)
	require.Error(t, err)
	require.ErrorContains(t, err, cfg.Path)
}

// After each single store to the words, a reader finds the state from before the
// step or from after it: nothing spent is free, nothing free is spent.
func TestCrashBetweenStores(t *testing.T) {
	cfg := Config{Window: 70}
	words := make([]uint64, slotWords+ringBlocks(cfg.Window))
	blank(words)
	w := mapWindow(cfg, words)
	w = w.renew(key(1))
	model := newModel(cfg.Window)
	n := int64(5)
	for step := range 400 {
		// Steps of one, of a few words, and beyond the whole ring.
		n += []int64{1, 1, 2, 31, 1, 64, 3, 100, 1, 5000}[step%10]
		before := append([]uint64(nil), words...)
		spentBefore := *model
		var log []int
		w.trace = func(i int) { log = append(log, i) }
		w.advance(uint64(n))
		w.reserve(uint64(n))
		moved := len(log)
		w.spend(uint64(n))
		w.trace = nil
		model.highest = n
		model.state[n] = "spent"
		require.Equal(t, 1, len(log)-moved, "spending is one store")

		// The same step again on a copy, killed before each of its stores.
		for stop := range len(log) + 1 {
			again := append([]uint64(nil), before...)
			c := mapWindow(cfg, again)
			require.NoError(t, c.load())
			func() {
				defer func() { _ = recover() }()
				done := 0
				c.trace = func(int) {
					if done++; done > stop {
						panic("killed")
					}
				}
				c.advance(uint64(n))
				c.spend(uint64(n))
			}()
			r := mapWindow(cfg, again)
			require.NoError(t, r.load(), "step %d, killed after %d stores", step, stop)
			for m := max(0, n-150); m <= n+40; m++ {
				got := r.check(uint64(m))
				if r.stale(uint64(m)) {
					require.ErrorIs(t, got, ErrStale)
					continue
				}
				spent := spentBefore.state[m] == "spent" && m != n || m == n && stop == len(log)
				require.Equal(t, spent, got == ErrReplayed, "step %d, %d after %d stores, highest %d", step, m, stop, r.highest())
			}
		}
	}
}

// A child process spends numbers and says so; it is killed at a random moment.
// What it said it had spent is refused from then on.
func TestSIGKILL(t *testing.T) {
	const flag = "USHER_REPLAY_CHILD"
	if path := os.Getenv(flag); path != "" {
		l := open(t, Config{Window: 64, Path: path})
		for n := l.Stats().Highest + 1; ; n++ {
			r, err := l.Reserve(key(1), n)
			if err != nil {
				continue
			}
			r.Commit()
			fmt.Println("spent", n)
		}
	}
	cfg := Config{Window: 64, Path: filepath.Join(t.TempDir(), "window")}
	last := int64(-1)
	for round := range full.Or(12, 40) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSIGKILL$")
		cmd.Env = append(os.Environ(), flag+"="+cfg.Path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for i := 0; i < 1+37*round%200 && lines.Scan(); i++ {
			if n, ok := strings.CutPrefix(lines.Text(), "spent "); ok {
				last, err = strconv.ParseInt(n, 10, 64)
				require.NoError(t, err)
			}
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		l := open(t, cfg)
		require.GreaterOrEqual(t, l.Stats().Highest, last)
		require.Error(t, l.Check(last, key(1)), "round %d: %d was spent", round, last)
		require.NoError(t, l.Close())
	}
	require.Positive(t, last)
}
