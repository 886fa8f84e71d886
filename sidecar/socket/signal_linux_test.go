package socket

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A signal, such as the one by which the runtime preempts a goroutine, is not taken for
// bytes.
func TestASignalIsNoData(t *testing.T) {
	c, _ := connected(t)
	var thread atomic.Int64
	var over atomic.Bool
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		for !over.Load() {
			if id := thread.Load(); id != 0 {
				_ = unix.Tgkill(os.Getpid(), int(id), unix.SIGURG)
			}
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread.Store(int64(unix.Gettid()))
	wrong := 0
	for range 100_000 {
		if silent, known := c.Silent(); !silent || !known {
			wrong++
		}
	}
	over.Store(true)
	<-sender
	require.Zero(t, wrong)
}
