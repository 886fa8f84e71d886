//go:build !linux

package hangup

import (
	"time"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

const sweeps = false

func progress(*socket.Conn) (at taken, silence time.Duration, pending bool) { return taken{}, 0, false }

// ArmWrite bounds the next write, as a whole, by Options.WriteTimeout: how much the
// client has taken is not known here.
func (c *Conn) ArmWrite() {
	if t := c.listener.options.WriteTimeout; t > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(t))
	}
}
