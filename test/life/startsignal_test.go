package life

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A signal that comes while usher starts is obeyed as one that comes later: SIGHUP
// does not end it, and SIGTERM ends it as a drain does.
func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	settings := rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{"USHER_WORKER_URL": "any"})
	for range 3 {
		u := rig.Launch(t, settings)
		u.WaitLine("USHER_WORKER_URL is any") // said before anything else is done
		u.Signal(syscall.SIGHUP)
		u.WaitLine(`"signal":"hangup"`)
		u.Signal(syscall.SIGTERM)
		require.Equal(t, 0, u.Wait())

		u = rig.Launch(t, settings)
		u.WaitLine("USHER_WORKER_URL is any")
		u.Signal(syscall.SIGTERM)
		require.Equal(t, 0, u.Wait())
	}
}
