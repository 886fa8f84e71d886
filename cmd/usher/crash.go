package main

import "runtime/debug"

// abortOnCrash makes fatal errors of the Go runtime (an unrecovered panic, lack of
// memory, a deadlock, SIGQUIT) end the process by SIGABRT. Otherwise it would exit with
// status 2, which says that a setting is wrong and that a restart is of no use. The
// kernel does not deliver SIGABRT to the first process of a container; there the runtime
// falls back to status 2, and the orchestrator restarts the container anyway.
func abortOnCrash() {
	debug.SetTraceback("crash")
	leaveNoCore()
}
