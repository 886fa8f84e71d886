//go:build unix

package replay

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A crashModel is what must have survived, according to the journal alone.
type crashModel struct {
	windows           map[byte]*crashWindow
	current, previous byte
	taken             map[int]crashTaken // by entry, in this life
}

type crashWindow struct {
	*model
	run  int
	last int64
}

type crashTaken struct {
	w *crashWindow
	n int64
}

func (m *crashModel) rotate(k byte) {
	if k == m.current {
		return
	}
	if k != m.previous || m.windows[k] == nil {
		delete(m.windows, m.previous)
		m.windows[k] = &crashWindow{model: newModel(100)}
	}
	m.current, m.previous = k, m.current
}

// reserve predicts the result of Reserve, and applies it to the model.
func (m *crashModel) reserve(i int, k byte, n int64) byte {
	w := m.windows[k]
	if w == nil {
		return cameUnknown
	}
	err, came := w.check(n), byte(cameOK)
	if err == ErrReplayed {
		return cameReplayed
	}
	if err == ErrStale {
		if w.run == 0 || n < w.last {
			w.run = 0
		}
		if w.run == 0 || n > w.last {
			w.run++
			w.last = n
		}
		if w.run < 3 {
			return cameStale
		}
		w = &crashWindow{model: newModel(100)}
		m.windows[k] = w
		came = cameReset
	}
	if n > w.highest {
		w.highest, w.run = n, 0
	}
	w.state[n] = "reserved"
	m.taken[i] = crashTaken{w, n}
	return came
}

// settle ends a reservation, unless its window is gone.
func (m *crashModel) settle(i int, spent bool) (w *crashWindow, n int64) {
	p := m.taken[i]
	if m.windows[m.current] != p.w && m.windows[m.previous] != p.w {
		return nil, 0
	}
	delete(p.w.state, p.n)
	if spent {
		p.w.state[p.n] = "spent"
	}
	return p.w, p.n
}

// replay applies one life to the model. The step during which the process was
// killed may or may not have happened; the ledger decides.
func (m *crashModel) replay(t *testing.T, j journal, l *Ledger) (steps int) {
	m.taken = map[int]crashTaken{}
	for i := range journalEntries {
		e := j.entry(i)
		if e.what == 0 {
			break
		}
		steps++
		if e.came == 0 {
			m.interrupted(t, e, l)
			break
		}
		switch e.what {
		case doReserve:
			require.Equal(t, m.reserve(i, e.key, e.n), e.came, "entry %d: key %d, number %d", i, e.key, e.n)
		case doCommit, doRelease:
			m.settle(int(e.n), e.what == doCommit)
		case doRotate:
			m.rotate(e.key)
		}
	}
	for _, w := range m.windows {
		w.run = 0 // lives in memory
		for n, state := range w.state {
			if state == "reserved" {
				delete(w.state, n)
			}
		}
	}
	return steps
}

func (m *crashModel) interrupted(t *testing.T, e entry, l *Ledger) {
	switch e.what {
	case doCommit:
		if w, n := m.settle(int(e.n), true); w != nil && n > w.highest-w.size {
			for k, kept := range m.windows {
				if kept == w && l.Check(n, key(k)) == nil {
					delete(w.state, n)
				}
			}
		}
	case doReserve:
		before := m.windows[e.key]
		if before == nil {
			return
		}
		from := before.highest
		if m.reserve(-1, e.key, e.n) == cameReset {
			if got := l.windows.find(key(e.key)); got != nil && !got.empty() && int64(got.highest()) == from {
				m.windows[e.key] = before
			} else if got == nil {
				delete(m.windows, e.key) // killed between the windows: the number is in neither
			} else if got.empty() {
				m.windows[e.key] = &crashWindow{model: newModel(100)}
			}
			return
		}
		if e.n <= from {
			return
		}
		got := l.windows.find(key(e.key))
		require.NotNil(t, got)
		before.highest = -1
		if !got.empty() {
			before.highest = int64(got.highest()) // it moves word by word
		}
		require.True(t, before.highest >= from && before.highest <= e.n, "highest %d, between %d and %d", before.highest, from, e.n)
	case doRotate:
		if e.key == m.current {
			return
		}
		kept := m.windows[m.previous]
		if l.windows.list[l.windows.current].is(key(e.key)) {
			m.rotate(e.key)
			return
		}
		// The new key's window may be there already, in place of the one before last.
		if e.key != m.previous && (kept == nil || l.windows.find(key(m.previous)) == nil) {
			delete(m.windows, m.previous)
			if l.windows.find(key(e.key)) != nil {
				m.previous = e.key
				m.windows[e.key] = &crashWindow{model: newModel(100)}
			}
		}
	}
}

// verify compares the ledger with the model, number by number.
func (m *crashModel) verify(t *testing.T, l *Ledger) {
	for k, w := range m.windows {
		got := l.windows.find(key(k))
		require.NotNil(t, got, "the window of key %d", k)
		require.Equal(t, w.highest < 0, got.empty(), "key %d", k)
		for n := max(0, w.highest-w.size-40); n <= w.highest+40; n++ {
			require.Equal(t, w.check(n), verdict(l, n, k), "key %d, highest %d, number %d", k, w.highest, n)
		}
	}
	if m.windows[m.current] != nil {
		require.True(t, l.windows.list[l.windows.current].is(key(m.current)), "the current key")
	}
}

// verdict is Check for a ledger with ResetAfter, which reports stale numbers only
// when they are reserved.
func verdict(l *Ledger, n int64, k byte) error { return l.windows.find(key(k)).check(uint64(n)) }
