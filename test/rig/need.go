package rig

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Need returns the path of a command; without it the test is skipped, or fails in CI,
// which installs everything.
func Need(t testing.TB, command, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err == nil {
		return path
	}
	Missing(t, command+" is missing: apt-get install "+debianPackage)
	return ""
}

// NeedFile is Need for what no package installs.
func NeedFile(t testing.TB, path, command string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	Missing(t, path+" is missing: "+command)
}

// Missing skips a test for something this machine lacks; in CI, which has everything, it
// fails. The reason should say how to install it.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		require.FailNow(t, reason)
	}
	t.Skip(reason)
}

// Python3 finds an interpreter that has the requests module.
func Python3(t *testing.T) string {
	t.Helper()
	return pythonWith(t, "requests")
}

// pythonWith finds an interpreter that has a module.
func pythonWith(t *testing.T, module string) string {
	t.Helper()
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(candidate, "-c", "import "+module).Run() == nil {
			return candidate
		}
	}
	return Need(t, "python3 with "+module, "python3-"+module)
}
