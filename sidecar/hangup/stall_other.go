//go:build !linux

package hangup

import "time"

const sweeps = false

func (c *Conn) progress() (at taken, silence time.Duration, pending bool) { return taken{}, 0, false }

// ArmWrite bounds the next write by Options.WriteTimeout, all of it: how far the
// client has come is not to be known here.
func (c *Conn) ArmWrite() {
	if t := c.listener.options.WriteTimeout; t > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(t))
	}
}
