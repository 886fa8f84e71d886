package front

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A spool returns what was put in, in order, and holds no more memory than that needs.
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

// Chunks that arrived with the head count in the budget of all bodies while they are
// kept, and no longer; if that has no room they stay where they are.
func TestChunksThatAreHereCount(t *testing.T) {
	budget := NewBudget(0, 1<<20, 0)
	type counts struct {
		begun, ended int64
		body         string
		err          error
	}
	counted := make(chan counts, 1)
	_, addr := startServer(t, Options{
		Serve: func(c *Conn, _ error) {
			s := c.Stream(1<<10, budget)
			if s.Begin() != nil {
				c.CloseAfter()
			}
			var n counts
			n.begun = budget.held.Load()
			body, err := io.ReadAll(s)
			n.ended, n.body, n.err = budget.held.Load(), string(body), err
			s.Release()
			counted <- n
			_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		},
		HealthCheck: func(string) (Answer, bool) { return Answer{}, false },
	}, hangup.Options{})
	ask := func() counts {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		require.NoError(t, err)
		return <-counted
	}
	require.Equal(t, counts{spoolPiece, 0, "hello", nil}, ask())
	require.True(t, budget.hold(int(budget.all)))
	require.Equal(t, counts{budget.all, budget.all, "hello", nil}, ask())
}
