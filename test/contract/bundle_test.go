package contract

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Rotation with a bundle: while both keys are in the file, tickets of either are
// accepted, and each key has a window of its own. A key that is removed is accepted
// for the grace period.
func TestKeyBundle(t *testing.T) {
	t.Parallel()
	first, second, third := rig.NewSigner(t), rig.NewEd25519Signer(t), rig.NewSigner(t)
	path := filepath.Join(t.TempDir(), "keys.pem")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write("\ufeff# the autoscaler's keys\n" + strings.ReplaceAll(first.Public(), "\n", "\r\n") + second.Public())
	with := rig.Settings(rig.NewModel(t, nil), first).With(rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_FILE": path, "USHER_PUBLIC_KEY_GRACE": "1h"})
	u := rig.Start(t, with).Ready()
	pass := func(s *rig.Signer, n int64) {
		t.Helper()
		require.Equal(t, 200, u.Post("/generate", s.Numbered(n).Flat("")).Status)
		require.Equal(t, "reqnum_replayed", u.Post("/generate", s.Numbered(n).Flat("")).Code())
	}
	pass(first, 1)
	pass(second, 1)
	pass(first, 2)
	require.Equal(t, "bad_signature", u.Post("/generate", third.Numbered(2).Flat("")).Code())

	status, out, _ := rig.Command(t, with, string(second.Numbered(9).Flat("")), "verify")
	require.Zero(t, status, out)
	require.Contains(t, out, "Ed25519")
	require.Contains(t, out, "RSA-2048")

	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("a secret that nobody may see")}))
	write(second.Public() + private)
	require.Contains(t, u.WaitLine("not refreshed"), "private key")
	pass(first, 3)

	write(second.Public() + third.Public())
	u.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return u.Post("/generate", third.Numbered(1).Flat("")).Status == 200 }, rig.Patience, 10*time.Millisecond)
	u.WaitLine("public key removed from its source")
	pass(first, 4)
	pass(second, 2)
	_, page := u.Get("/status.json")
	require.Equal(t, 3, strings.Count(page, `"algorithm":`), page)
	for _, line := range u.Log() {
		require.NotContains(t, line, strings.Split(private, "\n")[1])
	}
}

// A key file that cannot hold a key stops the start at once, with the reason: above
// all a FIFO, as opening one waits for a writer.
func TestKeyFileWithoutAKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, large, device := filepath.Join(dir, "fifo"), filepath.Join(dir, "large"), "/dev/zero"
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	require.NoError(t, os.WriteFile(large, make([]byte, 1<<20+1), 0o600))
	for path, want := range map[string]string{
		fifo:   "not a regular file but a FIFO",
		large:  "longer than 1 MiB",
		device: "not a regular file but a device",
		dir:    "not a regular file but a directory",
	} {
		with := rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_FILE": path})
		for _, args := range [][]string{nil, {"verify"}} {
			began := time.Now()
			status, _, said := rig.Command(t, with, "", args...)
			require.Equal(t, 2, status, said)
			require.Contains(t, said, fmt.Sprintf("USHER_PUBLIC_KEY_FILE: cannot be read: %s: %s", path, want))
			require.Less(t, time.Since(began), rig.Patience)
		}
	}
}
