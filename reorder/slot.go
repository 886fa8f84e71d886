package reorder

import "time"

// A Slot is the right to run. It is not safe for concurrent use; of its copies only
// one may be released. The zero value is empty, and its methods do nothing.
type Slot struct {
	buffer       *Buffer
	turn         uint64 // 0: nobody waits for this request to be sent
	held, queued time.Duration
}

// Sent records that the request has been sent, as far as its place in the order is
// concerned. Of requests that were admitted together, the next returns from Admit
// only then, so that they are sent in order. Nobody waits for Sent longer than a few
// milliseconds, and Release implies it. Further calls do nothing.
func (s *Slot) Sent() {
	if turn := s.turn; s.buffer != nil && turn != 0 {
		s.turn = 0
		s.buffer.sent(turn)
	}
}

// Release gives the slot back. Further calls do nothing.
func (s *Slot) Release() {
	if b := s.buffer; b != nil {
		s.buffer = nil
		b.release(s.turn)
	}
}

// Held returns how long the request waited for missing numbers, which is how long it
// waited while a slot was free.
func (s Slot) Held() time.Duration { return s.held }

// Queued returns how long the request waited while no slot was free.
func (s Slot) Queued() time.Duration { return s.queued }
