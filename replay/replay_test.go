package replay

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func open(t testing.TB, cfg Config) *Ledger {
	t.Helper()
	l, err := Open(cfg)
	require.NoError(t, err)
	l.Rotate(key(1))
	return l
}

// The boundaries of the window, step by step.
func TestWindow(t *testing.T) {
	l := open(t, Config{Window: 100})
	for i, step := range []struct {
		n   int64
		err error
	}{
		{0, nil}, {0, ErrReplayed}, {1, nil}, {1, ErrReplayed}, {9, nil}, {8, nil}, {7, nil}, {7, ErrReplayed},
		{100, nil}, {0, ErrStale}, {1, ErrReplayed}, {2, nil}, {101, nil}, {1, ErrStale}, {2, ErrReplayed},
		{200, nil}, {100, ErrStale}, {101, ErrReplayed}, {102, nil}, {199, nil}, {199, ErrReplayed},
		{1 << 40, nil}, {1<<40 - 99, nil}, {1<<40 - 100, ErrStale}, {1<<40 - 99, ErrReplayed},
		{1<<63 - 1, nil}, {1<<63 - 1, ErrReplayed}, {1<<63 - 100, nil}, {1<<63 - 101, ErrStale},
	} {
		require.Equal(t, step.err, l.Check(step.n, key(1)), "step %d: %d", i, step.n)
		r, err := l.Reserve(key(1), step.n)
		require.Equal(t, step.err, err, "step %d: %d", i, step.n)
		r.Commit()
	}
}

func TestReleaseGivesBack(t *testing.T) {
	l := open(t, Config{Window: 8})
	r, err := l.Reserve(key(1), 5)
	require.NoError(t, err)
	require.True(t, r.Fresh())
	require.ErrorIs(t, l.Check(5, key(1)), ErrReplayed)
	r.Release()
	r, err = l.Reserve(key(1), 5)
	require.NoError(t, err)
	require.False(t, r.Fresh(), "the window is not new any more")
	r.Commit()
	r.Release()
	require.ErrorIs(t, l.Check(5, key(1)), ErrReplayed)
}

// A commit that is undone frees the number, in the state file too, and no other
// number. Undo does nothing to a number that was not committed or that is stale.
func TestUndo(t *testing.T) {
	cfg := Config{Window: 64, Path: filepath.Join(t.TempDir(), "state")}
	l := open(t, cfg)
	take := func(n int64) Reservation {
		r, err := l.Reserve(key(1), n)
		require.NoError(t, err)
		return r
	}
	var none Reservation
	none.Undo()
	for n := int64(1); n <= 3; n++ {
		r := take(n)
		r.Undo() // nothing to take back yet
		require.ErrorIs(t, l.Check(n, key(1)), ErrReplayed)
		r.Commit()
		if n == 2 {
			r.Undo()
			r.Undo()
		}
		r.Release()
	}
	require.NoError(t, l.Close())
	l = open(t, cfg)
	require.ErrorIs(t, l.Check(1, key(1)), ErrReplayed)
	require.ErrorIs(t, l.Check(3, key(1)), ErrReplayed)
	r := take(2)
	r.Commit()
	next := take(2 + 96)
	next.Commit()
	r.Undo() // long stale: its bit may be another number's
	require.ErrorIs(t, l.Check(2, key(1)), ErrStale)
	require.ErrorIs(t, l.Check(2+96, key(1)), ErrReplayed)
	require.NoError(t, l.Close())
}

// Settling a reservation that has fallen below the window changes nothing.
func TestReservationLeftBehind(t *testing.T) {
	l := open(t, Config{Window: 10})
	old, err := l.Reserve(key(1), 1)
	require.NoError(t, err)
	for n := int64(2); n < 500; n++ {
		r, err := l.Reserve(key(1), n)
		require.NoError(t, err)
		r.Release()
	}
	old.Commit()
	require.ErrorIs(t, l.Check(1, key(1)), ErrStale)
	for n := int64(490); n < 500; n++ {
		require.NoError(t, l.Check(n, key(1)), n)
	}
}

func TestKeys(t *testing.T) {
	l := open(t, Config{Window: 10})
	spend := func(k byte, n int64) error {
		r, err := l.Reserve(key(k), n)
		r.Commit()
		return err
	}
	require.NoError(t, spend(1, 5))
	require.ErrorIs(t, spend(2, 5), ErrUnknownKey)
	l.Rotate(key(2))
	require.NoError(t, spend(2, 5), "a change of key starts a new window")
	require.ErrorIs(t, spend(1, 5), ErrReplayed, "the previous key's window is kept")
	require.NoError(t, l.Check(6, key(1), key(2)))
	require.NoError(t, l.Check(5, key(1), key(9)), "a key without a window would take it")
	require.ErrorIs(t, l.Check(5, key(2), key(1)), ErrReplayed)
	l.Rotate(key(1))
	require.ErrorIs(t, spend(1, 5), ErrReplayed, "a key that comes back finds its window")
	l.Rotate(key(3))
	require.ErrorIs(t, spend(2, 9), ErrUnknownKey)
}

// Of the keys no longer in force, the one with the oldest window makes room.
func TestTheOldestWindowMakesRoom(t *testing.T) {
	l := open(t, Config{Window: 10, Keys: 4})
	for _, step := range []struct{ rotate, kept []byte }{
		{[]byte{1, 2}, []byte{1, 2}},
		{[]byte{3, 2, 1}, []byte{1, 2, 3}},
		{[]byte{4}, []byte{1, 2, 3, 4}},
		{[]byte{5, 4, 2}, []byte{2, 3, 4, 5}},
		{[]byte{6, 5, 4}, []byte{3, 4, 5, 6}},
		{[]byte{7, 8, 9, 10, 11}, []byte{7, 8, 9, 10}},
	} {
		var keys []Fingerprint
		for _, b := range step.rotate {
			keys = append(keys, key(b))
		}
		l.Rotate(keys...)
		for b := byte(1); b < 12; b++ {
			require.Equal(t, slices.Contains(step.kept, b), l.windows.find(key(b)) != nil, "after %v: key %d", step.rotate, b)
		}
	}
}

// Eight keys at once, each with numbers of its own, across a restart.
func TestABundleOfKeys(t *testing.T) {
	cfg := Config{Window: 10, Keys: 16, Path: filepath.Join(t.TempDir(), "state")}
	l := open(t, cfg)
	keys := make([]Fingerprint, 8)
	for i := range keys {
		keys[i] = key(byte(i + 1))
	}
	for round := range 2 {
		l.Rotate(keys...)
		for i, k := range keys {
			require.Equal(t, round == 1, errors.Is(l.Check(int64(i), k), ErrReplayed))
			if round == 0 {
				r, err := l.Reserve(k, int64(i))
				require.NoError(t, err)
				require.True(t, r.Fresh())
				r.Commit()
				require.EqualValues(t, i, l.Stats().Highest)
			}
		}
		require.NoError(t, l.Check(7, keys...), "under one of them it is good")
		require.NoError(t, l.Close())
		var err error
		l, err = Open(cfg)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}

func TestResetAfter(t *testing.T) {
	l := open(t, Config{Window: 10, ResetAfter: 3})
	try := func(n int64) (bool, error) {
		require.NotErrorIs(t, l.Check(n, key(1)), ErrStale, "stale has to be verified first")
		r, err := l.Reserve(key(1), n)
		r.Commit()
		return r.Fresh(), err
	}
	_, err := try(1000)
	require.NoError(t, err)
	for _, n := range []int64{1, 2} {
		_, err = try(n)
		require.ErrorIs(t, err, ErrStale)
	}
	_, err = try(1001) // one above ends the run
	require.NoError(t, err)
	for _, n := range []int64{1, 2, 2, 1, 5, 5} { // 2 again does not count, 1 again begins a new run
		_, err = try(n)
		require.ErrorIs(t, err, ErrStale)
	}
	_, err = try(995) // a straggler inside the window is not above it
	require.NoError(t, err)
	fresh, err := try(6)
	require.NoError(t, err)
	require.True(t, fresh)
	require.EqualValues(t, 1, l.Stats().Resets)
	require.EqualValues(t, 6, l.Stats().Highest)
	_, err = try(5)
	require.NoError(t, err, "refused as stale before, usable in the new window")
	_, err = try(6)
	require.ErrorIs(t, err, ErrReplayed)
}

// However many callers race for a number, exactly one gets it.
func TestRace(t *testing.T) {
	l := open(t, Config{Window: 1000, Path: filepath.Join(t.TempDir(), "window")})
	defer func() { require.NoError(t, l.Close()) }()
	var won [400]atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range int64(len(won)) {
				if r, err := l.Reserve(key(1), n); err == nil {
					if n%3 == 0 {
						r.Release()
						continue
					}
					won[n].Add(1)
					r.Commit()
				}
			}
		})
	}
	group.Wait()
	for n := range won {
		if n%3 != 0 {
			require.EqualValues(t, 1, won[n].Load(), n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	l := open(b, Config{Window: 8192})
	r, _ := l.Reserve(key(1), 100)
	r.Commit()
	k := key(1)
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Check(100, k)
	}
}

// BenchmarkCheckKeys is Check with the most keys that a sidecar accepts at once.
func BenchmarkCheckKeys(b *testing.B) {
	l := open(b, Config{Window: 8192, Keys: 16})
	keys := make([]Fingerprint, 16)
	for i := range keys {
		keys[i] = key(byte(i + 1))
	}
	l.Rotate(keys...)
	for _, k := range keys {
		r, _ := l.Reserve(k, 100)
		r.Commit()
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Check(100, keys...)
	}
}

func BenchmarkReserveCommit(b *testing.B) {
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(b.TempDir(), "window")} {
		b.Run(name, func(b *testing.B) {
			l := open(b, Config{Window: 8192, Path: path})
			defer func() { _ = l.Close() }()
			b.ReportAllocs()
			n := max(l.Stats().Highest, 0)
			for b.Loop() {
				n++
				r, err := l.Reserve(key(1), n)
				if err != nil {
					b.Fatal(err)
				}
				r.Commit()
			}
		})
	}
}
