package main

import "runtime/debug"

// abortOnCrash has a fatal fault of the Go runtime (a panic that nobody recovers,
// no memory, a deadlock, SIGQUIT) end the process by SIGABRT. Else it would end
// with status 2, which says that a setting is wrong and starting again is of no
// use. The kernel keeps SIGABRT from the first process of a container, for which
// the runtime then falls back to 2: orchestrators start that again by themselves.
func abortOnCrash() {
	debug.SetTraceback("crash")
	leaveNoCore()
}
