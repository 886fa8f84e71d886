//go:build !linux

package loop

import (
	"errors"
	"time"
)

const reads, writes = 0, 0

type poller struct{}

// New returns nil: these systems have no such loop.
func New(time.Duration) (*Loop, error) { return nil, nil }

// Run returns at once.
func (l *Loop) Run() {}

func (*poller) close() {}

func (*poller) alarm(time.Time) {}

func (*poller) add(Descriptor, uint64, uint32) error { return errors.ErrUnsupported }

func (*poller) remove(Descriptor) {}
