// Package leak finds goroutines that tests leave behind. On a busy machine one that is
// about to end may take longer than the half second for which goleak waits.
package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a goroutine may take to end.
const patience = 30 * time.Second

// Main runs the tests of a package, and fails if they leave a goroutine behind. It is for
// TestMain, and does not return.
func Main(m *testing.M, options ...goleak.Option) {
	status := m.Run()
	if status == 0 {
		if err := Find(options...); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "goleak:", err)
			status = 1
		}
	}
	os.Exit(status)
}

// Find is goleak.Find with more patience.
func Find(options ...goleak.Option) (err error) {
	for end := time.Now().Add(patience); ; {
		if err = goleak.Find(options...); err == nil || time.Now().After(end) {
			return err
		}
	}
}
