package replay

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// key makes a fingerprint that differs from others in its first byte.
func key(b byte) Fingerprint { return Fingerprint{b} }

// A model is a window so simple that it cannot be wrong: a map and a number.
type model struct {
	size    int64
	highest int64 // -1: none
	state   map[int64]string
}

func newModel(size int) *model {
	return &model{size: int64(size), highest: -1, state: make(map[int64]string)}
}

func (m *model) check(n int64) error {
	switch {
	case n <= m.highest-m.size:
		return ErrStale
	case m.state[n] != "":
		return ErrReplayed
	}
	return nil
}

// The ledger against the model: any sequence of calls, with a few keys in force at
// once, rotations, jumps, and a file that is closed and opened again in between.
func TestLedgerAgainstModel(t *testing.T) {
	dir := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		cfg := Config{Window: rapid.IntRange(1, 200).Draw(t, "window"), Keys: rapid.IntRange(2, 5).Draw(t, "keys")}
		if rapid.Bool().Draw(t, "file") {
			cfg.Path = filepath.Join(dir, string(rune('a'+files%26))+rapid.StringMatching(`[a-z]{12}`).Draw(t, "name"))
		}
		l, err := Open(cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		models := map[byte]*model{}
		latest := byte(1)
		type pending struct {
			r   Reservation
			m   *model
			key byte
			n   int64
		}
		var open []pending
		near := int64(1000)

		// Which windows make room is looked up afterwards: never one of the keys',
		// and none while a place is free.
		rotate := func(keys ...byte) {
			prints := make([]Fingerprint, len(keys))
			fresh, gone, free := 0, 0, cfg.Keys-len(models)
			for i, b := range keys {
				prints[i] = key(b)
			}
			l.Rotate(prints...)
			kept := keys[:min(len(keys), cfg.Keys)]
			for _, b := range kept {
				if models[b] == nil {
					fresh++
					models[b] = newModel(cfg.Window)
				}
			}
			for b := range models {
				if !slices.Contains(kept, b) && l.windows.find(key(b)) == nil {
					delete(models, b)
					gone++
				}
			}
			require.Equal(t, max(0, fresh-free), gone, "windows that were given away")
			if !slices.Contains(kept, latest) {
				latest = keys[0]
			}
		}
		rotate(1)
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				b := rapid.SampledFrom([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}).Draw(t, "key")
				n := max(0, near+rapid.Int64Range(-300, 300).Draw(t, "offset"))
				if rapid.IntRange(0, 20).Draw(t, "jump") == 0 {
					n += rapid.Int64Range(0, 1<<40).Draw(t, "far")
					near = n
				}
				m := models[b]
				r, err := l.Reserve(key(b), n)
				if m == nil {
					require.ErrorIs(t, err, ErrUnknownKey)
					return
				}
				want := m.check(n)
				require.True(t, errors.Is(err, want), "%d: %v, not %v", n, err, want)
				if want == nil {
					require.Equal(t, m.highest < 0, r.Fresh())
					m.highest = max(m.highest, n)
					latest = b
					m.state[n] = "reserved"
					open = append(open, pending{r, m, b, n})
				}
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				p := open[i]
				open = append(open[:i], open[i+1:]...)
				if rapid.Bool().Draw(t, "commit") {
					p.r.Commit()
					p.m.state[p.n] = "spent"
				} else {
					p.r.Release()
					delete(p.m.state, p.n)
				}
				p.r.Commit() // the second one does nothing
			},
			"rotate": func(t *rapid.T) {
				rotate(rapid.SliceOfNDistinct(rapid.ByteRange(1, 8), 1, 6, rapid.ID[byte]).Draw(t, "keys")...)
			},
			"reopen": func(t *rapid.T) {
				if cfg.Path == "" {
					t.Skip("no file")
				}
				require.NoError(t, l.Close())
				var err error
				l, err = Open(cfg)
				require.NoError(t, err)
				// What was reserved and not spent is free again.
				for _, p := range open {
					if p.m.state[p.n] == "reserved" {
						delete(p.m.state, p.n)
					}
				}
				open = nil
				for b := range models {
					if l.windows.list[l.windows.latest].is(key(b)) {
						latest = b
					}
				}
			},
			"": func(t *rapid.T) {
				for b, m := range models {
					n := max(0, near+rapid.Int64Range(-300, 300).Draw(t, "probe"))
					want := m.check(n)
					got := l.Check(n, key(b))
					require.True(t, errors.Is(got, want), "%d: %v, not %v", n, got, want)
				}
				if m := models[latest]; m != nil {
					require.Equal(t, m.highest, l.Stats().Highest)
				}
			},
		})
	})
}
