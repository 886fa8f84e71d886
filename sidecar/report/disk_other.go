//go:build !linux && !darwin

package report

// diskUsed is not known here.
func diskUsed() (uint64, bool) { return 0, false }
