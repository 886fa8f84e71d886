// Package full switches between a quick run of the tests and a full one. With
// USHER_TEST_FULL=1, which .ci/run sets, tests do everything; without it, those that take
// minutes or need a machine to themselves are skipped or do less.
package full

import (
	"os"
	"testing"
)

// Run reports whether this is a full run.
func Run() bool { return os.Getenv("USHER_TEST_FULL") == "1" }

// Or returns quick in a quick run and all in a full one.
func Or[T any](quick, all T) T {
	if Run() {
		return all
	}
	return quick
}

// Only skips a test, or part of one, unless this is a full run.
func Only(t testing.TB) {
	t.Helper()
	if !Run() {
		t.Skip("takes too long for a quick run; set USHER_TEST_FULL=1, as .ci/run does")
	}
}
