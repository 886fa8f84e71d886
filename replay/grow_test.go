//go:build unix

package replay

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file with fewer windows than configured is extended and keeps its content, even
// if extending it is interrupted at any point. One with more stays as it is.
func TestGrow(t *testing.T) {
	cfg := stateFile(t)
	l := open(t, cfg)
	r, err := l.Reserve(key(1), 7)
	require.NoError(t, err)
	r.Commit()
	l.Rotate(key(2))
	require.NoError(t, l.Close())
	short, err := os.ReadFile(cfg.Path)
	require.NoError(t, err)

	blocks := ringBlocks(cfg.Window)
	more := cfg
	more.Keys = 5
	for _, left := range []int{0, 1, pageSize, 2*slotBytes(blocks) + 9, 3 * slotBytes(blocks)} {
		rest := make([]byte, left)
		for i := range rest {
			rest[i] = 0xa5
		}
		require.NoError(t, os.WriteFile(cfg.Path, append(append([]byte(nil), short...), rest...), 0o600))
		for range 2 {
			l, err = Open(more)
			require.NoError(t, err, "%d bytes were left", left)
			require.ErrorIs(t, l.Check(7, key(1)), ErrReplayed)
			require.True(t, l.windows.list[l.windows.current].is(key(2)))
			l.Rotate(key(2), key(3), key(4), key(5))
			for b := byte(1); b < 6; b++ {
				require.NotNil(t, l.windows.find(key(b)), b)
			}
			require.NoError(t, l.Close())
		}
	}
	l, err = Open(cfg)
	require.NoError(t, err, "fewer are wanted again")
	require.NotNil(t, l.windows.find(key(5)))
	require.NoError(t, l.Close())

	long, err := os.ReadFile(cfg.Path)
	require.NoError(t, err)
	for name, content := range map[string][]byte{"cut": long[:len(long)-1], "long": append(long, 0), "short cut": short[:len(short)-1]} {
		require.NoError(t, os.WriteFile(cfg.Path, content, 0o600))
		_, err := Open(more)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
}
