//go:build unix

package replay

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpen changes a state file. A change without a matching checksum is always
// damage. With matching checksums the file may be refused or accepted; if accepted
// it is a window like any other, which lets each number through once and is the same
// after it was closed and opened again.
func FuzzOpen(f *testing.F) {
	cfg := Config{Window: 40, Path: filepath.Join(f.TempDir(), "window")}
	l, err := Open(cfg)
	require.NoError(f, err)
	l.Rotate(key(1))
	r, err := l.Reserve(key(1), 7)
	require.NoError(f, err)
	r.Commit()
	require.NoError(f, l.Close())
	good, err := os.ReadFile(cfg.Path)
	require.NoError(f, err)
	blocks := ringBlocks(cfg.Window)
	second := 8 * slotAt(1, blocks) // the window of key 1
	for _, seal := range []bool{false, true} {
		f.Add(0, []byte{1}, seal)
		f.Add(pageSize, []byte{0xff, 2}, seal)
		for word := range slotWords + blocks {
			f.Add(second+8*word, []byte{0xff, 0xff, 0xff, 0x7f}, seal)
			f.Add(2*pageSize+8*word, []byte{1}, seal)
		}
	}
	f.Fuzz(func(t *testing.T, at int, patch []byte, seal bool) {
		if at < 0 || at >= len(good) {
			return
		}
		bad := bytes.Clone(good)
		for i, b := range patch[:min(len(patch), len(bad)-at)] {
			bad[at+i] ^= b
		}
		if seal {
			for _, slot := range []int{2 * pageSize, second} {
				reseal(bad[slot:], blocks)
			}
		}
		cfg := Config{Window: 40, Path: filepath.Join(t.TempDir(), "window")}
		require.NoError(t, os.WriteFile(cfg.Path, bad, 0o600))
		l, err := Open(cfg)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		if !seal {
			require.Equal(t, good, bad, "damage was taken for good")
		}
		l.Rotate(key(1))
		near := max(0, l.Stats().Highest)
		for n := max(0, near-45); n-45 < near && n >= 0; n++ {
			want := l.Check(n, key(1))
			r, err := l.Reserve(key(1), n)
			require.Equal(t, want, err)
			r.Commit()
			require.Error(t, l.Check(n, key(1)))
		}
		highest := l.Stats().Highest
		require.NoError(t, l.Close())
		l, err = Open(cfg)
		require.NoError(t, err)
		require.Equal(t, highest, l.Stats().Highest)
		require.ErrorIs(t, l.Check(highest, key(1)), ErrReplayed)
		require.NoError(t, l.Close())
	})
}

// reseal gives each word of a window a matching checksum.
func reseal(slot []byte, blocks int) {
	for i := range slotWords + blocks {
		place := i - slotWords
		if i < slotWords {
			place = headPlace + i
		}
		if i < wordUnused || i >= slotWords {
			binary.LittleEndian.PutUint64(slot[8*i:], sealed(place, binary.LittleEndian.Uint32(slot[8*i:])))
		}
	}
}
