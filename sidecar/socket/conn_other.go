//go:build !darwin && !linux

package socket

import (
	"net"
	"syscall"
)

// errAgain is never returned here.
const errAgain = syscall.EAGAIN

// rawOf returns nil: there are no system calls for these systems.
func rawOf(net.Conn) (syscall.RawConn, error) { return nil, nil }

func (*incoming) readOnce(uintptr) bool { return true }
func (*outgoing) writeOn(uintptr) bool  { return true }
func (*outgoing) tryOnce(uintptr)       {}

// look cannot find out whether anything has arrived.
func (in *incoming) look(uintptr) { in.silent = true }
