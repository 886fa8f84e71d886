package chaos

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// deafLog makes the reader of the log pause, or go away and come back. It is no
// storm: an unread log delays no request. Sometimes Usher is ended in the meantime.
func deafLog(w *world, r *rand.Rand) error {
	if r.IntN(2) == 0 {
		w.usher.log.Leave()
	} else if err := w.usher.log.Stop(); err != nil {
		return err
	}
	time.Sleep(time.Duration(50+r.IntN(250)) * time.Millisecond)
	if r.IntN(4) == 0 {
		return w.restart(terminate) // starts a new reader
	}
	var name string
	served := eventually("a request is served while nobody reads the log", func() bool {
		o, i := w.sendNamed(w.issue())
		name = i.String()
		return o.err == nil && o.status == 200
	})
	if err := errors.Join(served, w.usher.readOn()); err != nil {
		return err
	}
	return eventually("the log is read again, and nothing is missing", func() bool {
		return strings.Contains(w.usher.last(name), `"request_id":"`+name+`"`)
	})
}
