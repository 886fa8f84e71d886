package front

import (
	"errors"
	"os"
	"sync"
	"time"
)

// spoolPiece is how many bytes of memory a spool takes at a time.
const spoolPiece = 32 << 10

var spoolPieces = sync.Pool{New: func() any { return new([spoolPiece]byte) }}

// A spool holds the bytes of a body that were read before anybody takes them. The zero
// value is empty.
type spool struct {
	budget   *Budget // of all bodies; nil: no limit
	pieces   []*[spoolPiece]byte
	from, to int // where it begins in the first piece, and ends in the last
}

// room returns where bytes can be added; if it is empty, call grow first.
func (s *spool) room() []byte {
	if len(s.pieces) == 0 {
		return nil
	}
	return s.pieces[len(s.pieces)-1][s.to:]
}

// grow adds a piece, for which the budget must have granted room.
func (s *spool) grow() {
	s.pieces = append(s.pieces, spoolPieces.Get().(*[spoolPiece]byte))
	s.to = 0
}

// take moves as much as fits into p.
func (s *spool) take(p []byte) (n int) {
	for n < len(p) && len(s.pieces) > 0 {
		end := spoolPiece
		if len(s.pieces) == 1 {
			end = s.to
		}
		m := copy(p[n:], s.pieces[0][s.from:end])
		n += m
		if s.from += m; s.from == end {
			s.give(s.pieces[0])
			s.pieces, s.from = s.pieces[1:], 0
		}
	}
	return n
}

func (s *spool) release() {
	for _, piece := range s.pieces {
		s.give(piece)
	}
	*s = spool{budget: s.budget}
}

func (s *spool) give(piece *[spoolPiece]byte) {
	spoolPieces.Put(piece)
	s.budget.drop(spoolPiece)
}

// roomPause is how often findRoom tries.
const roomPause = 50 * time.Millisecond

// findRoom waits until there is room for a piece, which more must grant, too; false after
// halt was closed.
func (s *spool) findRoom(halt <-chan struct{}, more func(n int64) bool) bool {
	for {
		if s.budget.hold(spoolPiece) {
			if more(spoolPiece) {
				return true
			}
			s.budget.drop(spoolPiece)
		}
		select {
		case <-halt:
			return false
		case <-time.After(roomPause):
		}
	}
}

// Spool begins to read the body although nobody takes it yet, and keeps it for Read,
// until Halt: the end of the connection is not seen while bytes in front of it find no
// room in the kernel. more must grant the room that takes, n bytes more; while it does
// not, nothing is read. The client is not told to send the body, and its read time-out
// does not run. broken is called if the body cannot be completed any more:
// ErrBodyTooLarge, ErrBodyFraming, ErrGone.
func (s *Stream) Spool(more func(n int64) bool, broken func(error)) {
	s.halt, s.halted = make(chan struct{}), make(chan struct{})
	_ = s.c.SetReadDeadline(time.Time{})
	go func() {
		defer close(s.halted)
		room := func() bool { return s.spool.findRoom(s.halt, more) }
		if err := s.fillWhile(room, func(*Conn) error { return nil }); err != nil {
			broken(err)
		}
	}()
}

// Halt ends the reading that Spool began.
func (s *Stream) Halt() {
	close(s.halt)
	_ = s.c.SetReadDeadline(time.Now())
	<-s.halted
	_ = s.c.SetReadDeadline(time.Time{})
}

// fillFromAhead takes the bytes that the connection has ahead, which are less than a
// piece, if there is room for one.
func (s *Stream) fillFromAhead() error {
	room := func() bool { return s.spool.budget.hold(spoolPiece) }
	return s.fillWhile(room, func(*Conn) error { return os.ErrDeadlineExceeded })
}

// fillWhile reads until the body is whole, room returns false, or the read deadline has
// passed. before is that of read.
func (s *Stream) fillWhile(room func() bool, before func(*Conn) error) error {
	for !s.whole.Load() {
		if len(s.spool.room()) == 0 {
			if !room() {
				return nil
			}
			s.spool.grow()
		}
		n, err := s.read(s.spool.room(), before)
		s.spool.to += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}
