package front

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestStepsOfABody(t *testing.T) {
	const limit = 16 << 20
	tests := []struct {
		name          string
		length, limit int
		want          []int // sizes up to one that holds the limit, or the declared length and one byte
	}{
		{"declared, a byte above the first buffer", 16<<10 + 1, limit, []int{32 << 10}},
		{"declared, the first buffer with no byte left", 16 << 10, limit, []int{32 << 10}},
		{"declared, four first buffers less a byte", 64<<10 - 1, limit, []int{64 << 10}},
		{"declared, four first buffers", 64 << 10, limit, []int{32 << 10, 128 << 10}},
		{"declared, 256 KiB and a ticket", 256<<10 + 1200, limit, []int{32 << 10, 128 << 10, 512 << 10}},
		{"declared, the limit", limit, limit, []int{32 << 10, 128 << 10, 512 << 10, 2 << 20, 8 << 20, limit + 1}},
		{"declared, a limit that is no power of two", 40000, 40000, []int{40001}},
		{"not declared", -1, 100000, []int{32 << 10, 64 << 10, 100001}},
		{"declared too small", 100, 100000, []int{32 << 10, 64 << 10, 100001}},
		{"a limit below the first buffer", -1, 100, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			for size := firstBody; size <= tt.limit && (size <= tt.length || tt.length < firstBody); {
				size = nextSize(size, tt.length, tt.limit)
				got = append(got, size)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// A small, slow upload must not hold the buffer that a large body has left.
func TestASmallBodyHoldsNoLargeBuffer(t *testing.T) {
	const limit = 1 << 20
	r := NewBudget(0, 0, limit)
	for range 20 { // under -race a pool drops items at random
		var large, small Body
		require.NoError(t, large.read(&upload{left: limit}, limit, limit, r))
		large.Release()
		require.NoError(t, small.read(&upload{left: 100}, limit, limit, r))
		require.Equal(t, firstBody, cap(small.Bytes()), "whatever it promises")
		small.Release()
		require.NoError(t, small.read(&upload{left: 100}, 100, limit, r))
		require.Equal(t, smallBody, cap(small.Bytes()))
		small.Release()
	}
}

// An upload delivers a body as fasthttp's stream does: what came with the head first,
// then as much as a socket holds; the end comes with the last bytes.
type upload struct {
	left  int
	began bool
}

func (s *upload) Read(p []byte) (int, error) {
	most := 128 << 10
	if !s.began {
		s.began, most = true, 8<<10
	}
	n := min(len(p), s.left, most)
	clear(p[:n])
	if s.left -= n; s.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

// BenchmarkBody reads bodies with a ticket and a prompt of each size. The time includes
// upload's filling of the memory, once.
func BenchmarkBody(b *testing.B) {
	const limit = 16 << 20
	for _, kb := range []int{1, 8, 64, 256, 512, 2048, 8192} {
		b.Run(fmt.Sprintf("%dKB", kb), func(b *testing.B) {
			r := NewBudget(0, 0, limit)
			size := kb<<10 + 1200
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				var body Body
				if err := body.read(&upload{left: size}, size, limit, r); err != nil {
					b.Fatal(err)
				}
				body.Release()
			}
		})
	}
}

// A body is whole if its last bytes come along with the end of the connection, as over TLS
// 1.2 with the client's close_notify.
func TestTheLastBytesMayComeWithTheEnd(t *testing.T) {
	for text, want := range map[string]error{"hello": io.EOF, "hell": io.ErrUnexpectedEOF} {
		c := newConn(nil, endingConn{Reader: iotest.DataErrReader(strings.NewReader(text))}, nil)
		c.guard.state, c.guard.left = inLength, 5
		n, err := (*clientBody)(c).read(make([]byte, 10), func(*Conn) error { return nil })
		require.Equal(t, len(text), n)
		require.Equal(t, want, err)
	}
}

type endingConn struct {
	net.Conn
	io.Reader
}

func (c endingConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
