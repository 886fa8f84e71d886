package loop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a descriptor is watched for, edge-triggered: each arrival is told once.
const (
	reads  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	writes = unix.EPOLLOUT | unix.EPOLLET
)

// A poller is an epoll instance. The read deadline of its file is the loop's alarm.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	events [maxBatch]unix.EpollEvent
}

// New makes a loop, which Run runs until Close. A stream gets a Silent event once
// nothing has come from its source for silence, or up to an eighth longer.
func New(silence time.Duration) (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile polls only such files
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &Loop{silence: silence, epoch: time.Now()}
	l.roster = roster{alarm: l.poller.alarm, every: silence / sweepsPerSilence, past: l.epoch, members: make(map[uint64]*Member)}
	l.poller.file = os.NewFile(uintptr(fd), "epoll")
	l.poller.raw, err = l.poller.file.SyscallConn()
	if err == nil {
		err = l.poller.file.SetReadDeadline(time.Time{}) // fails if the runtime does not poll it
	}
	if err != nil {
		_ = l.poller.file.Close()
		return nil, fmt.Errorf("epoll instance: %w", err)
	}
	return l, nil
}

// Run runs the streams until Close.
func (l *Loop) Run() {
	for {
		switch err := l.poller.raw.Read(l.wait); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.alarmed()
		default:
			return
		}
	}
}

// roundsAtOnce is how many batches are handled before the alarm is checked.
const roundsAtOnce = 64

// wait handles events until there are none. From then on an event wakes the runtime's
// poller.
func (l *Loop) wait(epoll uintptr) bool {
	for range roundsAtOnce {
		n := l.poller.wait(epoll)
		for i, e := range l.poller.events[:n] {
			l.batch[i] = occurrence{uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32, eventOf(e)}
		}
		l.handle(n)
		if more := l.others(); !more && n < maxBatch {
			return false
		}
	}
	return true
}

// eventOf translates an epoll event. The tokens of sinks are odd.
func eventOf(e unix.EpollEvent) Event {
	if e.Fd&1 == 1 {
		return Writable
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		return Readable | Last
	}
	return Readable
}

// wait takes the events that are there, without waiting. The system call bypasses the
// scheduler; see package socket.
func (p *poller) wait(epoll uintptr) int {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&p.events)), maxBatch, 0, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			return 0
		}
	}
}

func (p *poller) close() { _ = p.file.Close() }

// alarm has the loop woken at a time.
func (p *poller) alarm(at time.Time) { _ = p.file.SetReadDeadline(at) }

// add has a descriptor watched. It fails if the descriptor was closed.
func (p *poller) add(d Descriptor, token uint64, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(token), Pad: int32(token >> 32)}
	return p.control(d, unix.EPOLL_CTL_ADD, &event)
}

// remove ends that. A closed descriptor has left the instance by itself.
func (p *poller) remove(d Descriptor) { _ = p.control(d, unix.EPOLL_CTL_DEL, nil) }

func (p *poller) control(d Descriptor, op int, event *unix.EpollEvent) error {
	var inner, failed error
	err := d.Control(func(fd uintptr) {
		inner = p.raw.Control(func(epoll uintptr) {
			failed = os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(epoll), op, int(fd), event))
		})
	})
	return errors.Join(err, inner, failed)
}
