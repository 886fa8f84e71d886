package hangup

import (
	"sync"
	"sync/atomic"
)

// A Call is work done for a client. It is told when the client has left.
type Call interface {
	// ClientGone is called at most once for each Watch, usually by the one goroutine that
	// watches all connections, so it must not block.
	ClientGone()
}

// A watch tells a call when the client has left.
//
// How Watch, Unwatch and hangUp synchronize. state has two bits. Only the serving
// goroutine changes watched and call, the latter while watched is unset. Only the
// watcher sets gone; it holds firing from before that until ClientGone has returned.
//
//	Watch before hangUp: hangUp finds watched, and calls the call.
//	hangUp before Watch: Watch's swap finds gone, and Watch calls it itself.
//	Unwatch before hangUp: its swap clears watched, and nothing is called.
//	hangUp before Unwatch: the swap finds gone. firing was taken before gone was set,
//	so waiting for firing is waiting for ClientGone to return.
//
// Every step is decided by one atomic operation on state, so there is no fifth case:
// no call is told twice, after its Unwatch, or not at all.
type watch struct {
	told   *atomic.Uint64 // counts the calls that were told
	state  atomic.Uint32
	call   Call
	firing sync.Mutex
}

const (
	watched uint32 = 1 << iota
	gone
)

// Watch has call told when the client leaves. If the client has left already, ClientGone
// is called before Watch returns. A call that is still being watched is unwatched first.
// Watch takes nanoseconds and allocates nothing.
func (w *watch) Watch(call Call) {
	if w.state.Load()&watched != 0 {
		w.Unwatch()
	}
	w.call = call
	if !w.state.CompareAndSwap(0, watched) {
		w.call = nil
		w.told.Add(1)
		call.ClientGone()
	}
}

// Unwatch ends the watching, if there was any: once it has returned, the call's
// ClientGone is neither running nor called later. It must not be called from ClientGone,
// nor while holding a lock that ClientGone takes.
func (w *watch) Unwatch() {
	if !w.state.CompareAndSwap(watched, 0) {
		if w.state.Load() == 0 {
			return
		}
		w.firing.Lock()
		w.state.Store(gone)
		w.firing.Unlock()
	}
	w.call = nil
}

// hangUp notes that the client has left, and tells the call that is being watched. A
// reset after a FIN makes it run twice. firing guards no data: only Unwatch takes it too,
// to wait for ClientGone.
func (w *watch) hangUp() {
	w.firing.Lock()
	defer w.firing.Unlock()
	if w.state.Or(gone) == watched {
		w.told.Add(1)
		w.call.ClientGone()
	}
}

// Gone reports whether the client has been seen leaving.
func (w *watch) Gone() bool { return w.state.Load()&gone != 0 }
