package streams

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/rig"
)

// finWait2 is the state of a connection whose FIN the other end has acknowledged, as
// TCP_INFO tells it.
const finWait2 = 5

// closeNoticed closes c once the other end's kernel has its FIN: on a busy machine that
// takes longer than the call.
func closeNoticed(c *net.TCPConn) {
	_ = c.CloseWrite()
	raw, err := c.SyscallConn()
	for end := time.Now().Add(rig.Patience); err == nil && time.Now().Before(end); time.Sleep(50 * time.Microsecond) {
		var state uint8
		_ = raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil {
				state = info.State
			}
		})
		if state == finWait2 || state == 0 {
			break
		}
	}
	_ = c.Close()
}
