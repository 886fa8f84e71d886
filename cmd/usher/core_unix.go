//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// leaveNoCore keeps SIGABRT from writing the process's memory, prompts and keys
// among it, to a disk. A limit of 1 byte and not of 0, because Linux asks a
// handler (core_pattern with a pipe) in spite of 0 (core(5)). Who sets GOTRACEBACK
// may want a core, and has the limit as it was.
func leaveNoCore() {
	var limit unix.Rlimit
	if os.Getenv("GOTRACEBACK") != "" || unix.Getrlimit(unix.RLIMIT_CORE, &limit) != nil {
		return
	}
	limit.Cur = min(limit.Cur, 1)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit) // lowering is always allowed
}
