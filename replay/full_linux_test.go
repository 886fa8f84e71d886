package replay

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of 64 KiB. Where that is not allowed the test is skipped,
// or fails in CI.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	const takes = "a file system of its own takes root with CAP_SYS_ADMIN: %v"
	if errors.Is(err, os.ErrPermission) && os.Getenv("CI") != "true" {
		t.Skipf(takes, err)
	}
	require.NoError(t, err, takes, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A full disk is noticed when the file is created, and nothing is left behind. A
// disk that fills up later does no harm, because all blocks are allocated by then.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	fill := filepath.Join(dir, "fill")
	require.NoError(t, os.WriteFile(fill, make([]byte, 56<<10), 0o600))
	cfg := Config{Window: 8192, Path: filepath.Join(dir, "window")}
	_, err := Open(cfg)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, cfg.Path)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "half a file was left behind")

	require.NoError(t, os.Remove(fill))
	l := open(t, cfg)
	require.Error(t, os.WriteFile(fill, make([]byte, 1<<20), 0o600), "the disk is full now")
	for n := int64(0); n < 50_000; n += 5 {
		r, err := l.Reserve(key(1), n)
		require.NoError(t, err)
		r.Commit()
	}
	require.NoError(t, l.Close())
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(49_995, key(1)), ErrReplayed)
	require.NoError(t, l.Check(49_994, key(1)))
	require.NoError(t, l.Close())
}

func TestReadOnly(t *testing.T) {
	dir := smallDisk(t)
	cfg := Config{Window: 64, Path: filepath.Join(dir, "window")}
	require.NoError(t, open(t, cfg).Close())
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := Open(cfg)
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, cfg.Path)
	missing := cfg
	missing.Path += "2"
	_, err = Open(missing)
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, missing.Path)
}
