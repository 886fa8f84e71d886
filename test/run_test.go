package test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// command runs the binary with arguments and returns its status and output.
func command(t *testing.T, settings env, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = settings.list()
	cmd.Stdin = strings.NewReader(stdin)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if runErr := cmd.Run(); !errors.As(runErr, &exit) {
		require.NoError(t, runErr)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// stops runs the binary with settings that must stop the start, and returns its
// exit status and what it said.
func stops(t *testing.T, settings env) (status int, said string) {
	t.Helper()
	u := launch(t, settings)
	status = u.wait()
	return status, strings.Join(u.log(), "\n")
}
