package hangup

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// sweeps is whether the system reports how much a client has taken.
const sweeps = true

// progress asks the kernel how much the client has taken of what was written to it, and
// for how long nothing was heard from it. pending reports whether anything is left to
// take; nothing is if the kernel cannot tell (the connection was closed, or speaks
// Multipath TCP to an old kernel).
func progress(sock *socket.Conn) (at taken, silence time.Duration, pending bool) {
	_ = sock.Control(func(fd uintptr) {
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
