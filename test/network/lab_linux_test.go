// Package network puts Usher, its clients, the model server and the autoscaler on
// separate hosts, connected by a network that loses, delays and reorders packets and
// forgets connections.
//
// A host is a network namespace whose only way out is a TUN device. A router in this
// process holds the other ends and decides the fate of each packet. So all hosts use
// the kernel's TCP, and what the network does is known packet by packet. The kernel's
// netem could do the same, but many kernels of containers and small virtual machines
// lack it and have namespaces and TUN. Everything ends with the process that made it,
// however that ends.
package network

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/rig"
)

// A lab is the router and the hosts around it.
type lab struct {
	t    testing.TB
	ipv6 bool // and nothing else

	mu      sync.Mutex
	random  *rand.Rand
	hosts   map[netip.Addr]*host
	travels travels
	sooner  chan struct{} // told when a packet is due before all others
	ended   chan struct{}
	running sync.WaitGroup
}

// newLab makes a lab without hosts, or skips the test if that is not permitted.
func newLab(t testing.TB, ipv6 bool) *lab {
	t.Helper()
	rig.Need(t, "ip", "iproute2")
	rig.Need(t, "nsenter", "util-linux")
	l := &lab{
		t: t, ipv6: ipv6, random: rand.New(rand.NewPCG(1, 2)), hosts: map[netip.Addr]*host{},
		sooner: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	l.running.Go(l.deliver)
	t.Cleanup(l.end)
	return l
}

func (l *lab) end() {
	close(l.ended)
	l.mu.Lock()
	for _, h := range l.hosts {
		_ = h.tun.Close()
		_ = h.namespace.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
}

// A host is one machine of the lab.
type host struct {
	lab            *lab
	address        netip.Addr
	namespace, tun *os.File
	out, in        link // from it, and to it
}

// host adds a host. If the system does not permit it, the test is skipped with the
// reason.
func (l *lab) host() *host {
	l.t.Helper()
	number := len(l.hosts) + 1
	h := &host{lab: l, address: netip.AddrFrom4([4]byte{10, 66, 0, byte(number)})}
	setup := []string{"link set lo up", "link set eth0 up mtu 1500 txqueuelen 10000"}
	if l.ipv6 {
		h.address = netip.MustParseAddr(fmt.Sprintf("fd66::%x", number))
		setup = append(setup, fmt.Sprintf("address add %s/64 dev eth0 nodad", h.address))
	} else {
		setup = append(setup, fmt.Sprintf("address add %s/24 dev eth0", h.address))
	}
	if err := h.open(); err != nil {
		rig.Missing(l.t, fmt.Sprintf("no host can be made here, which takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN, and /dev/net/tun: %v", err))
	}
	cmd := h.command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(setup, "\n"))
	out, err := cmd.CombinedOutput()
	require.NoError(l.t, err, "%s", out)
	l.mu.Lock()
	l.hosts[h.address] = h
	l.mu.Unlock()
	l.running.Go(h.listen)
	return h
}

// open makes the namespace and its device, on a thread that ends afterwards.
func (h *host) open() (err error) {
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("a network namespace: %w", err)
			return
		}
		if h.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			err = fmt.Errorf("/dev/net/tun: %w", err)
			return
		}
		var request *unix.Ifreq
		if request, err = unix.NewIfreq("eth0"); err != nil {
			return
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			_ = unix.Close(fd)
			err = fmt.Errorf("a TUN device: %w", err)
			return
		}
		h.tun = os.NewFile(uintptr(fd), "tun") // the runtime polls it, which works once it is a device
	})
	return err
}

// onThread runs f on a thread of its own, which ends with f, so that nobody else is
// affected by what f does to it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// on runs f on a thread in the host's namespace: sockets that f creates on its own
// goroutine belong to the host.
func (h *host) on(f func()) {
	onThread(func() {
		if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		f()
	})
}

// command returns a command that runs on the host.
func (h *host) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=/proc/self/fd/3", "--", name}, args...)...)
	cmd.ExtraFiles = []*os.File{h.namespace}
	return cmd
}

// at returns the address of a port of the host.
func (h *host) at(port uint16) string { return netip.AddrPortFrom(h.address, port).String() }

// serve makes the host answer HTTP on a port.
func (h *host) serve(port uint16, handler http.Handler) {
	h.lab.t.Helper()
	var ln net.Listener
	var err error
	h.on(func() { ln, err = net.Listen("tcp", h.at(port)) })
	require.NoError(h.lab.t, err)
	server := &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	h.lab.t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
}

// dial connects from the host to an IP address.
func (h *host) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	h.on(func() { c, err = (&net.Dialer{}).DialContext(ctx, network, address) })
	return c, err
}

// client is an HTTP client on the host.
func (h *host) client() *http.Transport {
	transport := &http.Transport{DialContext: h.dial, MaxIdleConnsPerHost: 1000, DisableCompression: true}
	h.lab.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// set sets the condition of the host's cable in both directions.
func (h *host) set(c condition) {
	h.out.set(c)
	h.in.set(c)
}

// vanish cuts the host off without a trace.
func (h *host) vanish() { h.set(condition{cut: true}) }
