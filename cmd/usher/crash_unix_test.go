//go:build unix

package main

import (
	"os"
	"os/exec"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Whatever makes the runtime abort, the exit status is not that of a wrong setting, and
// no core is left.
func TestCrashesAbort(t *testing.T) {
	const child = "USHER_TEST_CRASH"
	crashes := map[string]func(){
		"panic":    func() { go panic("on purpose"); select {} },
		"overflow": func() { debug.SetMaxStack(1 << 20); depth.Store(overflow(0)) },
		"unmapped": func() {
			f, _ := os.CreateTemp("", "usher-crash")
			_ = os.Remove(f.Name())
			_ = f.Truncate(4096)
			data, _ := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			_ = f.Truncate(0)
			data[0] = 1
		},
	}
	if crash := crashes[os.Getenv(child)]; crash != nil {
		abortOnCrash()
		crash()
		os.Exit(0)
	}
	for name := range crashes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/bin/sh", "-c", `ulimit -c unlimited 2>/dev/null; exec "$0" -test.run='^TestCrashesAbort$'`, os.Args[0])
			cmd.Env = append(os.Environ(), child+"="+name)
			cmd.Dir = t.TempDir()
			said, err := cmd.CombinedOutput()
			require.Error(t, err)
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, status.Signaled(), "status %d: %s", status.ExitStatus(), said)
			require.Equal(t, syscall.SIGABRT, status.Signal())
			require.False(t, status.CoreDump())
			left, err := os.ReadDir(cmd.Dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// depth keeps the compiler and linters from noticing that overflow never ends.
var depth atomic.Int64

func overflow(n int64) int64 {
	if n < depth.Load() {
		return n
	}
	return overflow(n+1) + 1
}
