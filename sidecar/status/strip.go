package status

import (
	"sync/atomic"
)

// stripCells is how many numbers the strip remembers, a power of two. StripShown is
// how many of the newest a Picture shows.
const (
	stripCells = 1024
	StripShown = 240
)

// A State is the state of a number, as a letter of Picture.Cells.
type State byte

// The states of a number.
const (
	Missing State = '.' // it has not come, but a higher one has
	GivenUp State = 'x' // it was missing, and a higher one was admitted
	Waiting State = 'w'
	Running State = 'i' // in flight
	Served  State = 's'
	Refused State = 'r'
	Gone    State = 'g' // its client left, or was cut off
	Failed  State = 'e' // at the model server
)

// A Mark is how a number came, as a letter of Picture.Marks.
type Mark byte

// The marks of a number.
const (
	InTurn Mark = '.' // before every higher one
	Filled Mark = 'f' // after a higher one, but before that was admitted
	Late   Mark = 'l' // admitted after a higher one: out of order
)

// A Strip is the latest numbers and the state of each: what the reorder buffer looks
// like from outside. Each change is an atomic store or two, without locking or
// allocating. The zero value is empty; it is safe for concurrent use, except that
// changes of the same number must not race: only the request that reserved the number
// may make them.
//
// A cell is one word, about the latest number that shares it. Numbers that are no
// longer shown are dropped.
type Strip struct {
	highest atomic.Int64 // the highest that came, plus one; 0: none
	gone    atomic.Int64 // the highest that was admitted, plus one
	cells   [stripCells]atomic.Uint64
}

// cell packs a number's upper bits, its mark and its state; 0 is empty.
func cell(n int64, m Mark, s State) uint64 {
	return uint64(n/stripCells)<<16 | uint64(m)<<8 | uint64(s)
}

// holds reports whether word is about n.
func holds(word uint64, n int64) bool { return word != 0 && word>>16 == uint64(n/stripCells)&(1<<48-1) }

// Came records that a verified number came and waits for its turn.
func (s *Strip) Came(n int64) {
	mark := Filled
	for {
		highest := s.highest.Load()
		if n+1 <= highest {
			break
		}
		if s.highest.CompareAndSwap(highest, n+1) {
			mark = InTurn
			break
		}
	}
	s.cells[n%stripCells].Store(cell(n, mark, Waiting))
}

// Ran records that the number was admitted.
func (s *Strip) Ran(n int64) {
	mark := s.mark(n)
	for {
		gone := s.gone.Load()
		if n+1 < gone {
			mark = Late
			break
		}
		if s.gone.CompareAndSwap(gone, n+1) {
			break
		}
	}
	s.set(n, mark, Running)
}

// Ended records the final state of the number.
func (s *Strip) Ended(n int64, state State) { s.set(n, s.mark(n), state) }

func (s *Strip) mark(n int64) Mark {
	if word := s.cells[n%stripCells].Load(); holds(word, n) {
		return Mark(word >> 8)
	}
	return InTurn
}

// set ignores numbers that are no longer shown, because a newer number has the cell
// or numbering has restarted.
func (s *Strip) set(n int64, m Mark, state State) {
	if highest := s.highest.Load() - 1; n <= highest && n > highest-stripCells {
		s.cells[n%stripCells].Store(cell(n, m, state))
	}
}

// Claimed records that a ticket with this number did not verify. That is shown only if
// nothing better is known about the number, and never moves the strip.
func (s *Strip) Claimed(n int64) {
	highest := s.highest.Load() - 1
	if n < 0 || n <= highest-stripCells/2 || n > highest+stripCells/4 {
		return
	}
	c := &s.cells[n%stripCells]
	if word := c.Load(); !holds(word, n) {
		c.CompareAndSwap(word, cell(n, InTurn, Refused))
	}
}

// nearBelow is how far below the highest number a new series may begin and still count
// as a continuation of the old one.
const nearBelow = 16

// Restart records that a new replay window begins with number first. If that is below
// the known numbers, numbering has restarted and the strip is cleared; if not, as
// after a change of key, numbering continues.
func (s *Strip) Restart(first int64) {
	if first > s.highest.Load()-nearBelow {
		return
	}
	s.highest.Store(0)
	s.gone.Store(0)
	for i := range s.cells {
		s.cells[i].Store(0)
	}
}

// A Picture is the newest part of a Strip, one letter for each number.
type Picture struct {
	From    int64  `json:"from"`    // the first letter's number
	Cells   string `json:"cells"`   // of State
	Marks   string `json:"marks"`   // of Mark
	Missing int    `json:"missing"` // how many have the state Missing
}

// Picture returns the strip's current picture. Numbers missing below expected count as
// given up.
func (s *Strip) Picture(expected int64) Picture {
	highest := s.highest.Load() - 1
	if highest < 0 {
		return Picture{}
	}
	p := Picture{From: max(0, highest-StripShown+1)}
	var cells, marks [StripShown]byte
	known := -1 // index of the first number that came
	size := int(highest - p.From + 1)
	for i := range size {
		n := p.From + int64(i)
		cells[i], marks[i] = byte(Missing), byte(InTurn)
		if word := s.cells[n%stripCells].Load(); holds(word, n) {
			cells[i], marks[i] = byte(word), byte(word>>8)
			if known < 0 {
				known = i
			}
		} else if n < expected {
			cells[i] = byte(GivenUp)
		} else {
			p.Missing++
		}
	}
	// Numbers below the first one that ever came were never missing.
	known = max(known, 0)
	p.From += int64(known)
	p.Cells, p.Marks = string(cells[known:size]), string(marks[known:size])
	return p
}
