package hangup

import (
	"time"

	"golang.org/x/sys/unix"
)

// sweeps reports whether the system tells how far a client has come.
const sweeps = true

// progress asks the kernel how far the client has come with what was written to
// it, and for how long nothing was heard from it; pending: there is more to take. A
// connection that cannot be asked (it was closed, or speaks Multipath TCP to an old
// kernel) has nothing pending.
func (c *Conn) progress() (at taken, silence time.Duration, pending bool) {
	_ = c.sock.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			at = taken{info.Bytes_acked, info.Snd_wnd}
			silence = time.Duration(info.Last_ack_recv) * time.Millisecond
			pending = info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	return at, silence, pending
}

// ArmWrite is for systems without a sweep.
func (c *Conn) ArmWrite() {}
