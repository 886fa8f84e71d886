package crypto

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Opening a FIFO that nobody writes to would block forever.
func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, os.Symlink("fifo", at("link")))
	require.NoError(t, os.WriteFile(at("largest"), make([]byte, MaxKeyBytes), 0o600))
	require.NoError(t, os.WriteFile(at("larger"), make([]byte, MaxKeyBytes+1), 0o600))
	l, err := net.Listen("unix", at("socket"))
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	for name, want := range map[string]error{
		"fifo": ErrNotRegular, "link": ErrNotRegular, ".": ErrNotRegular, "socket": syscall.ENXIO, "none": os.ErrNotExist,
		"larger": ErrTooLong, "largest": nil,
	} {
		text, err := ReadRegular(at(name))
		require.ErrorIs(t, err, want, name)
		if want == nil {
			require.Len(t, text, MaxKeyBytes)
			continue
		}
		require.ErrorContains(t, err, at(name))
	}
	_, err = ReadRegular("/dev/zero")
	require.ErrorIs(t, err, ErrNotRegular)
}
