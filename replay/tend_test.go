//go:build unix

package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tend checks the file once, after told was reported, and returns what is left.
func tend(l *Ledger, told string) string {
	t := tender{Ledger: l, told: told}
	t.tend()
	return t.told
}

// spend takes a number for good.
func spend(t testing.TB, l *Ledger, n int64) {
	t.Helper()
	r, err := l.Reserve(key(1), n)
	require.NoError(t, err)
	r.Commit()
}

// Whatever is done to the file while it is in use, the ledger stays exact, reports
// what happened and recreates the file, so that the next process knows everything.
func TestFileIsHarmed(t *testing.T) {
	overwrite := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	}
	for name, tt := range map[string]struct {
		harm func(t *testing.T, path string)
		says string
	}{
		"truncated":         {overwrite(""), "truncated"},
		"truncated by half": {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 2*pageSize)) }, "truncated"},
		"overwritten":       {overwrite(strings.Repeat("x", fileBytes(2, ringBlocks(100)))), "changed"},
		"grown":             {overwrite(strings.Repeat("x", 1<<20)), "extended"},
		"emptied and grown": {func(t *testing.T, path string) {
			size := int64(fileBytes(2, ringBlocks(100)))
			require.NoError(t, errors.Join(os.Truncate(path, 0), os.Truncate(path, size)))
		}, "changed"},
		"one bit": {func(t *testing.T, path string) {
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			content[len(content)-1] ^= 1
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt(content, 0)
			require.NoError(t, errors.Join(err, f.Close()))
		}, "changed"},
		"removed": {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, "removed"},
		"moved":   {func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".old")) }, "removed"},
		"replaced": {func(t *testing.T, path string) {
			overwrite("hello")(t, path+"2")
			require.NoError(t, os.Rename(path+"2", path))
		}, "replaced"},
		"all gone": {func(t *testing.T, path string) {
			require.NoError(t, errors.Join(os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700)))
		}, "removed"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := stateFile(t)
			var said []string
			cfg.Report = func(fault, unmade error) { said = append(said, fmt.Sprint(fault, "|", unmade)) }
			l := open(t, cfg)
			l.Rotate(key(2))
			l.Rotate(key(1))
			for n := int64(1); n < 300; n += 3 {
				spend(t, l, n)
			}
			require.Empty(t, tend(l, ""))
			tt.harm(t, cfg.Path)
			for n := int64(302); n < 900; n += 3 { // over all pages of the mapping
				spend(t, l, n)
			}
			require.Empty(t, tend(l, ""))
			require.Len(t, said, 1)
			require.Contains(t, said[0], cfg.Path)
			require.Contains(t, said[0], tt.says)
			require.Contains(t, said[0], "|<nil>", "it was made anew")
			require.Equal(t, uint64(1), l.Stats().FileFaults)
			spend(t, l, 905) // goes to the new file
			require.Empty(t, tend(l, ""))
			require.Len(t, said, 1)

			_, err := Open(cfg)
			require.ErrorIs(t, err, ErrLocked)
			require.NoError(t, l.Close())
			l = open(t, cfg)
			for _, n := range []int64{899, 896, 905} {
				require.ErrorIs(t, l.Check(n, key(1)), ErrReplayed)
			}
			require.NoError(t, l.Check(898, key(1)))
			require.NoError(t, l.Close())
			left, err := filepath.Glob(filepath.Join(filepath.Dir(cfg.Path), ".*"))
			require.NoError(t, err)
			require.Empty(t, left, "locks and temporary files")
		})
	}
}

// After the file was removed, moved or replaced, no second ledger gets the path:
// neither before the file is recreated, nor after that if the lock file is gone too.
func TestPathStaysHeld(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Rename(path+"2", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := stateFile(t)
			l := open(t, cfg)
			require.NoError(t, harm(cfg.Path))
			_, err := Open(cfg)
			require.ErrorIs(t, err, ErrLocked)
			require.Empty(t, tend(l, ""))
			require.NoError(t, os.Remove(l.file.lock.Name()))
			_, err = Open(cfg)
			require.ErrorIs(t, err, ErrLocked)
			require.Empty(t, tend(l, ""))
			require.NoError(t, l.Close())
		})
	}
}

// A file that another process has locked is left alone. That is reported once and
// counted at each attempt; the ledger continues in memory, and takes the path back
// once it can.
func TestPathIsTaken(t *testing.T) {
	cfg := stateFile(t)
	var said []string
	cfg.Report = func(fault, unmade error) { said = append(said, fmt.Sprint(fault, "|", unmade)) }
	l := open(t, cfg)
	l.Rotate(key(1))
	spend(t, l, 1)
	require.NoError(t, errors.Join(os.Remove(cfg.Path), os.Remove(l.file.lock.Name())))
	other := open(t, cfg)
	told := tend(l, "")
	require.Contains(t, told, "in use")
	require.Equal(t, told, l.Stats().FileFault)
	require.Equal(t, told, tend(l, told))
	require.Len(t, said, 1)
	require.Equal(t, uint64(2), l.Stats().FileFaults)
	spend(t, l, 2)
	require.NoError(t, other.Close())
	require.Empty(t, tend(l, told))
	require.Empty(t, l.Stats().FileFault)
	require.Len(t, said, 2)
	require.NoError(t, l.Close())
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(1, key(1)), ErrReplayed)
	require.ErrorIs(t, l.Check(2, key(1)), ErrReplayed)
	require.NoError(t, l.Close())
}

// A directory in the file's place is not removed by force; the
// file that was moved away has everything when it is moved back.
func TestFileCannotBeRecreated(t *testing.T) {
	cfg := stateFile(t)
	last := ""
	cfg.Report = func(fault, unmade error) { last = fmt.Sprint(fault, "|", unmade) }
	l := open(t, cfg)
	l.Rotate(key(1))
	require.NoError(t, errors.Join(os.Rename(cfg.Path, cfg.Path+".old"), os.Mkdir(cfg.Path, 0o700)))
	told := tend(l, "")
	require.NotEmpty(t, told)
	spend(t, l, 7)
	require.NoError(t, errors.Join(os.Remove(cfg.Path), os.Rename(cfg.Path+".old", cfg.Path)))
	require.Empty(t, tend(l, told))
	require.Equal(t, "<nil>|<nil>", last)
	require.NoError(t, l.Close())
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(7, key(1)), ErrReplayed)
	require.NoError(t, l.Close())
}

// Run notices by itself: at once if a store fails, and when it ends.
func TestRunTends(t *testing.T) {
	cfg := stateFile(t)
	reports := make(chan error, 4)
	cfg.Report = func(fault, _ error) { reports <- fault }
	l := open(t, cfg)
	l.Rotate(key(1))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.Run(ctx) }()
	require.NoError(t, os.Truncate(cfg.Path, 0))
	spend(t, l, 1)
	select {
	case fault := <-reports:
		require.ErrorContains(t, fault, "truncated")
	case <-time.After(20 * time.Second):
		require.Fail(t, "it was not noticed")
	}
	require.NoError(t, os.Remove(cfg.Path))
	stop()
	<-ended
	require.ErrorContains(t, <-reports, "removed")
	require.NoError(t, l.Close())
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(1, key(1)), ErrReplayed)
	require.NoError(t, l.Close())
}

// A process that cannot create the lock file, or is an older version, only locks
// the state file itself. That lock is respected.
func TestFileLockAloneHolds(t *testing.T) {
	cfg := stateFile(t)
	require.NoError(t, open(t, cfg).Close())
	f, err := os.OpenFile(cfg.Path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, lockFile(f))
	_, err = Open(cfg)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, f.Close())
	require.NoError(t, open(t, cfg).Close())
}
