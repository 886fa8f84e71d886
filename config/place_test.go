package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A state file that cannot be created is reported together with all other faults, not
// after they are fixed.
func TestStateFilePlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		dir:                                     `USHER_STATE_FILE: ` + dir + ` is not a regular file`,
		filepath.Join(dir, "missing", "window"): `does not exist: create ` + filepath.Join(dir, "missing") + ` first`,
		filepath.Join(file, "window"):           `USHER_STATE_FILE: cannot be used: `,
	} {
		_, err := Load(append(base(publicKey(t)), "USHER_LOG_LEVEL=loud", "USHER_STATE_FILE="+path))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "2 wrong or missing setting(s)")
		require.ErrorContains(t, err, "USHER_LOG_LEVEL")
	}
	path := filepath.Join(dir, "window")
	require.Equal(t, path, load(t, "USHER_STATE_FILE="+path).StateFile, "it need not be there yet")
	require.Equal(t, file, load(t, "USHER_STATE_FILE="+file).StateFile)
}
