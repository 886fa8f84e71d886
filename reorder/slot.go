package reorder

import "time"

// A Slot is the right to run. It is not safe for concurrent use; of its copies
// only one may be released. The zero value holds nothing.
type Slot struct {
	buffer       *Buffer
	turn         uint64 // 0: nobody waits for it to set out
	held, queued time.Duration
}

// Sent says that the request has been sent, as far as its place in the order
// goes: only then the next of those that were admitted together with it is woken
// from Admit, so that they are sent in their order. Release says so as well, and
// nobody waits for it longer than a few milliseconds. Only the first call does
// anything, and with nobody behind not even that.
func (s *Slot) Sent() {
	if turn := s.turn; s.buffer != nil && turn != 0 {
		s.turn = 0
		s.buffer.sent(turn)
	}
}

// Release gives the slot back. On the same Slot only the first call does
// anything.
func (s *Slot) Release() {
	if b := s.buffer; b != nil {
		s.buffer = nil
		b.release(s.turn)
	}
}

// Held returns how long the request waited for missing numbers, that is while a
// slot was free.
func (s Slot) Held() time.Duration { return s.held }

// Queued returns how long the request waited while no slot was free.
func (s Slot) Queued() time.Duration { return s.queued }
