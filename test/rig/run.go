package rig

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// SideBySide runs a case at the same time as others. It is for cases that mostly sleep:
// t.Parallel would make them queue for processors they do not need. The caller must wait
// for cases.
func SideBySide(t *testing.T, cases *sync.WaitGroup, name string, run func(*testing.T)) {
	cases.Go(func() { t.Run(name, run) })
}

// Command runs the binary with arguments and returns its status and output.
func Command(t *testing.T, settings Env, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(Binary, args...)
	cmd.Env = settings.List()
	cmd.Stdin = strings.NewReader(stdin)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if runErr := cmd.Run(); !errors.As(runErr, &exit) {
		require.NoError(t, runErr)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// Stops runs the binary with settings that must keep it from starting, and returns its
// exit status and log.
func Stops(t *testing.T, settings Env) (status int, said string) {
	t.Helper()
	u := Launch(t, settings)
	status = u.Wait()
	return status, strings.Join(u.Log(), "\n")
}
