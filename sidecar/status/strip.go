package status

import (
	"sync/atomic"
)

// stripCells is how many numbers the strip remembers, a power of two; StripShown
// is how many of the newest a Strip's picture shows.
const (
	stripCells = 1024
	StripShown = 240
)

// A State is what has become of a number, as a letter of Picture.Cells.
type State byte

// The states of a number.
const (
	Missing State = '.' // a higher one came, this one has not
	GivenUp State = 'x' // was missing, and a higher one went ahead
	Waiting State = 'w'
	Running State = 'i' // at the model server
	Served  State = 's'
	Refused State = 'r'
	Gone    State = 'g' // its client left, or was cut
	Failed  State = 'e' // at the model server
)

// A Mark is how a number came, as a letter of Picture.Marks.
type Mark byte

// The marks of a number.
const (
	InTurn Mark = '.' // in its turn, or ahead of it
	Filled Mark = 'f' // after a higher one, but before that one went
	Late   Mark = 'l' // went after a higher one: out of order
)

// A Strip is the latest numbers and what became of each: what the reorder
// buffer looks like from outside. Each change is an atomic store or two, without
// a lock or an allocation. The zero value is empty; it is safe for concurrent
// use, but changes of one number must not race with one another: whoever
// reserved the number makes them.
//
// A cell is one word: what there is to tell about the latest number that shares
// it. Numbers that have left the picture are dropped.
type Strip struct {
	highest atomic.Int64 // that came, plus one; 0: none
	gone    atomic.Int64 // the highest that was admitted, plus one
	cells   [stripCells]atomic.Uint64
}

// cell packs a number's upper bits, its mark and its state; 0 is empty.
func cell(n int64, m Mark, s State) uint64 {
	return uint64(n/stripCells)<<16 | uint64(m)<<8 | uint64(s)
}

// holds reports whether word is about n.
func holds(word uint64, n int64) bool { return word != 0 && word>>16 == uint64(n/stripCells)&(1<<48-1) }

// Came notes that a verified number came and waits for its turn.
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

// Ran notes that the number was admitted.
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

// Ended notes what became of the number at last.
func (s *Strip) Ended(n int64, state State) { s.set(n, s.mark(n), state) }

func (s *Strip) mark(n int64) Mark {
	if word := s.cells[n%stripCells].Load(); holds(word, n) {
		return Mark(word >> 8)
	}
	return InTurn
}

// set drops what is no longer shown: a newer number has the cell, or the
// numbers have started again below.
func (s *Strip) set(n int64, m Mark, state State) {
	if highest := s.highest.Load() - 1; n <= highest && n > highest-stripCells {
		s.cells[n%stripCells].Store(cell(n, m, state))
	}
}

// Claimed notes that a ticket which did not verify claimed the number. It is
// shown where nothing better is known of that number, and moves nothing.
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

// nearBelow is how far below the highest number a new series may begin and still
// be taken for the old one going on.
const nearBelow = 16

// Restart tells that a new window of numbers begins with first. Where that is
// below those known, the numbers start again and the strip is emptied; where it
// is not, as after a change of key, they go on.
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

// A Picture is the newest part of a Strip, one letter a number.
type Picture struct {
	From    int64  `json:"from"`    // the first letter's number
	Cells   string `json:"cells"`   // of State
	Marks   string `json:"marks"`   // of Mark
	Missing int    `json:"missing"` // numbers shown that are awaited
}

// Picture takes the picture; what is missing below expected was given up.
func (s *Strip) Picture(expected int64) Picture {
	highest := s.highest.Load() - 1
	if highest < 0 {
		return Picture{}
	}
	p := Picture{From: max(0, highest-StripShown+1)}
	var cells, marks [StripShown]byte
	known := -1 // the first letter of which something is known
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
	// What lies before the first number that ever came was never missing.
	known = max(known, 0)
	p.From += int64(known)
	p.Cells, p.Marks = string(cells[known:size]), string(marks[known:size])
	return p
}
