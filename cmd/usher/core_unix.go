//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// leaveNoCore keeps SIGABRT from writing the process's memory, including prompts and
// keys, to disk. The limit is 1 byte instead of 0 because Linux runs a core handler
// (core_pattern with a pipe) in spite of 0 (core(5)). Whoever sets GOTRACEBACK may want
// a core, so in that case the limit stays as it is.
func leaveNoCore() {
	var limit unix.Rlimit
	if os.Getenv("GOTRACEBACK") != "" || unix.Getrlimit(unix.RLIMIT_CORE, &limit) != nil {
		return
	}
	limit.Cur = min(limit.Cur, 1)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit) // lowering is always allowed
}
