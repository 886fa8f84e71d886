package front

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A spool gives back what was put in, in order, and holds no more memory than that
// takes.
func TestSpoolIsAQueueOfBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := NewBudget(0, 1<<40, 0)
		s := spool{budget: budget}
		defer s.release()
		var want []byte
		next, grown := byte(0), 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if len(s.room()) == 0 {
					require.True(t, budget.hold(spoolPiece))
					s.grow()
					grown++
				}
				room := s.room()
				room = room[:min(len(room), rapid.SampledFrom([]int{1, 7, 5000, spoolPiece - 1, spoolPiece}).Draw(t, "n"))]
				for i := range room {
					room[i] = next
					next++
				}
				s.to += len(room)
				want = append(want, room...)
			},
			"take": func(t *rapid.T) {
				p := make([]byte, rapid.SampledFrom([]int{0, 1, 100, spoolPiece, 3 * spoolPiece}).Draw(t, "n"))
				n := s.take(p)
				require.Equal(t, min(len(p), len(want)), n)
				require.True(t, bytes.Equal(want[:n], p[:n]))
				want = want[n:]
			},
			"": func(t *rapid.T) {
				require.LessOrEqual(t, (len(s.pieces)-2)*spoolPiece, len(want))
				require.Equal(t, len(want) == 0, len(s.pieces) == 0)
				require.EqualValues(t, len(s.pieces)*spoolPiece, budget.held.Load())
			},
		})
		s.release()
		require.Zero(t, budget.held.Load())
		require.Zero(t, s.take(make([]byte, 1)))
	})
}
