//go:build linux || darwin

package report

import (
	"golang.org/x/sys/unix"
)

// diskUsed is how much of the root file system is in use, in bytes.
func diskUsed() (uint64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs("/", &s); err != nil {
		return 0, false
	}
	return (s.Blocks - s.Bfree) * uint64(s.Bsize), true
}
