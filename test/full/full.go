// Package full is the one switch between a quick run of the tests and a full
// one. With USHER_TEST_FULL=1, as .ci/run has it, tests do everything; without
// it those that take minutes, or a machine of their own, are left out or do less.
package full

import (
	"os"
	"testing"
)

// Run reports whether this is a full run.
func Run() bool { return os.Getenv("USHER_TEST_FULL") == "1" }

// Or returns what a quick run does, or all that a full one does.
func Or[T any](quick, all T) T {
	if Run() {
		return all
	}
	return quick
}

// Only skips a test, or a part of one, but in a full run.
func Only(t testing.TB) {
	t.Helper()
	if !Run() {
		t.Skip("takes long; USHER_TEST_FULL=1 runs it, as .ci/run does")
	}
}
