package engine

import (
	"fmt"
	"runtime"
	"testing"
)

// mostAttempts is how often a test is played whose engine crashes.
const mostAttempts = 4

// play plays a test with a real engine. The library, llama.cpp's for Node, may crash when a
// request is stopped, in one of some hundred tries. That is no fault of Usher's, so the
// test is played again then, and only then.
func play(t *testing.T, test func(t testing.TB)) {
	t.Helper()
	for n := 1; ; n++ {
		a := &attempt{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			test(a)
		}()
		<-done
		if a.failed && a.engine != nil && a.engine.crashed() && n < mostAttempts {
			t.Logf("the engine crashed; this was attempt %d", n)
			continue
		}
		for _, text := range a.said {
			t.Error(text)
		}
		if a.failed {
			t.FailNow()
		}
		return
	}
}

// An attempt is a test whose failures are kept until it is known whether they count.
type attempt struct {
	testing.TB
	engine *realEngine
	said   []string
	failed bool
}

func (a *attempt) Errorf(format string, args ...any) {
	a.said, a.failed = append(a.said, fmt.Sprintf(format, args...)), true
}

func (a *attempt) FailNow() {
	a.failed = true
	runtime.Goexit()
}
