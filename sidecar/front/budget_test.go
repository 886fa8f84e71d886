package front

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A body of the largest size fits into an empty budget, with or without a declared
// length, and however small the queue is.
func TestTheLargestBodyFits(t *testing.T) {
	const limit = 1 << 20
	content := bytes.Repeat([]byte("x"), limit)
	for _, length := range []int{limit, -1} {
		r := NewBudget(0, 0, limit)
		var b Body
		require.NoError(t, b.read(bytes.NewReader(content), length, limit, r))
		require.Equal(t, content, b.Bytes())
		require.Positive(t, r.used.Load())
		b.Release()
		require.Zero(t, r.used.Load())
	}
}

func TestWithoutBudgetABodyIsRefusedUnlessItIsSmall(t *testing.T) {
	r := NewBudget(1<<20, 0, 1<<10)
	require.True(t, r.take(1<<20))
	var large, small Body
	require.ErrorIs(t, large.read(bytes.NewReader(make([]byte, firstBody+1)), -1, 1<<20, r), ErrBodyBudget)
	large.Release()
	require.NoError(t, small.read(bytes.NewReader(make([]byte, firstBody-1)), -1, 1<<20, r))
	small.Release()
	require.EqualValues(t, 1<<20, r.used.Load())
}

// Whatever bodies come and go, and however they end, the budget is never overdrawn, and
// everything is given back.
func TestBudgetIsExact(t *testing.T) {
	const limit = 256 << 10
	rapid.Check(t, func(t *rapid.T) {
		r := NewBudget(1<<20, 0, limit)
		var held []*Body
		for range rapid.IntRange(1, 30).Draw(t, "bodies") {
			size := rapid.IntRange(0, limit+10).Draw(t, "size")
			var in io.Reader = bytes.NewReader(make([]byte, size))
			if rapid.Bool().Draw(t, "breaks") {
				in = io.MultiReader(in, iotest.ErrReader(io.ErrUnexpectedEOF))
			}
			length := -1
			if rapid.Bool().Draw(t, "declared") {
				length = size
			} else if rapid.Bool().Draw(t, "promised") {
				length = limit
			}
			b := &Body{}
			err := b.read(in, length, limit, r)
			require.LessOrEqual(t, r.used.Load(), r.limit)
			require.Equal(t, max(cap(b.Bytes())-firstBody, 0), b.taken)
			require.LessOrEqual(t, cap(b.Bytes()), max(4*len(b.Bytes()), firstBody))
			if err == nil {
				require.Len(t, b.Bytes(), size)
			}
			if err != nil || rapid.Bool().Draw(t, "ends") {
				b.Release()
				b.Release()
			} else {
				held = append(held, b)
			}
		}
		for _, b := range held {
			b.LeaveBudget()
			b.Release()
		}
		require.Zero(t, r.used.Load())
	})
}

// If memory is limited, all bodies together are bounded, first buffers included, until
// they are released and not only until they are read.
func TestAllBodiesAreBounded(t *testing.T) {
	const limit = 64 << 10
	r := NewBudget(0, 1, limit)
	require.EqualValues(t, 2*limit+firstBody, r.all, "one body of the largest size must fit")
	content := make([]byte, limit)
	read := func(size int) (*Body, error) {
		b := &Body{}
		return b, b.read(bytes.NewReader(content[:size]), size, limit, r)
	}
	first, err := read(limit)
	require.NoError(t, err)
	first.LeaveBudget()
	require.Zero(t, r.Used())
	require.EqualValues(t, limit+1, r.held.Load())

	second, err := read(limit)
	require.ErrorIs(t, err, ErrBodyBudget, "what was read still counts")
	second.Release()
	var small []*Body
	for {
		b, err := read(10)
		if err != nil {
			require.ErrorIs(t, err, ErrBodyBudget)
			b.Release()
			break
		}
		small = append(small, b)
	}
	require.Len(t, small, int(r.all-limit-1)/smallBody)

	first.Replace(content)
	require.EqualValues(t, limit+1, first.held, "the new content counts as much as the old")
	first.Release()
	second, err = read(limit / 4)
	require.NoError(t, err)
	second.Release()
	for _, b := range small {
		b.Release()
		b.Release()
	}
	require.Zero(t, r.held.Load())
	require.Zero(t, r.Used())
}
