package http1

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	strict  = ChunkOptions{CheckTrailers: true, MaxTrailer: 1 << 10}
	lenient = ChunkOptions{BlanksAfterSize: true, MaxTrailer: 1 << 10}
)

// decode decodes a body that arrives in pieces of at most size bytes. It returns the
// data, and how many bytes were taken up to the end of the body or to the wrong byte.
func decode(options ChunkOptions, wire []byte, size int) (data []byte, taken int, err error) {
	d := NewChunked(options)
	for taken < len(wire) {
		piece := wire[taken:min(taken+size, len(wire))]
		n, err := d.Skip(piece)
		taken += n
		if err != nil {
			return data, taken, err
		}
		n = int(min(d.Data(), int64(len(piece)-n)))
		if n == 0 {
			continue
		}
		data = append(data, wire[taken:taken+n]...)
		taken += n
		d.Took(n)
	}
	return data, taken, io.ErrUnexpectedEOF
}

func TestChunked(t *testing.T) {
	const none = ChunkError("")
	tests := []struct {
		name, good, bad string // bad begins with the rejected byte
		strict, lenient ChunkError
	}{
		{"nothing", "0\r\n\r\n", "", none, none},
		{"chunks", "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "", none, none},
		{"trailers", "0\r\nX: y\r\nZ:\t\xff\r\n\r\n", "", none, none},
		{"no size", "", "\r\n", errChunkSize, errChunkSize},
		{"no digit", "", "g\r\n", errChunkSize, errChunkSize},
		{"a blank before", "", " 3\r\n", errChunkSize, errChunkSize},
		{"a sign", "", "+3\r\n", errChunkSize, errChunkSize},
		{"a prefix", "0", "x3\r\n", errChunkSize, errChunkSize},
		{"an extension alone", "", ";a\r\n", errChunkSize, errChunkSize},
		{"a control byte in an extension", "3;", "\x00\r\n", errExtension, errExtension},
		{"zeros", strings.Repeat("0", 16), "0\r\n", errLongChunkSize, errLongChunkSize},
		{"beyond 63 bits", "800000000000000", "0\r\n", errLongChunkSize, errLongChunkSize},
		{"bare LF after the size", "3", "\nabc", errChunkSize, errChunkSize},
		{"bare CR after the size", "3\r", "abc", errChunk, errChunk},
		{"bare LF in an extension", "3;a", "\nabc", errExtension, errExtension},
		{"a long extension", "3;" + strings.Repeat("a", maxChunkLine-2), "a", errLongExtension, errLongExtension},
		{"more data than said", "3\r\nabc", "d\r\n", errChunk, errChunk},
		{"bare LF after the data", "3\r\nabc", "\n0\r\n\r\n", errChunk, errChunk},
		{"bare CR after the data", "3\r\nabc\r", "0\r\n\r\n", errChunk, errChunk},
		{"bare LF in a trailer", "0\r\nX: a", "\n\r\n", errTrailer, errTrailer},
		{"bare CR in a trailer", "0\r\nX: a\r", "b", errChunk, errChunk},
		{"bare LF at the end", "0\r\n", "\n", errTrailer, errTrailer},
		{"bare CR at the end", "0\r\n\r", "X", errChunk, errChunk},
		{"long trailers", "0\r\nX:" + strings.Repeat("a", 1<<10-2), "a", errLongTrailers, errLongTrailers},

		{"a blank after the size", "3", " \t\r\nabc\r\n0\r\n\r\n", errChunkSize, none},
		{"a blank before an extension", "3", " ;a\r\nabc\r\n0\r\n\r\n", errChunkSize, none},
		{"a trailer without a name", "0\r\n", ": a\r\n\r\n", errTrailer, none},
		{"a trailer without a colon", "0\r\nX", "\r\n\r\n", errTrailer, none},
		{"a folded trailer", "0\r\nX: a\r\n", " b\r\n\r\n", errTrailer, none},
		{"a blank in a trailer's name", "0\r\nX", " y: a\r\n\r\n", errTrailer, none},
		{"a control byte in a trailer", "0\r\nX:", "\x7f\r\n\r\n", errTrailer, none},
		{"a trailer that frames", "0\r\ncontent-Length", ": 3\r\n\r\n", errFramingTrailer, none},
		{"another that frames", "0\r\nA: b\r\nTransfer-Encoding", ":\r\n\r\n", errFramingTrailer, none},
		{"one like it", "0\r\nTransfer-Encodings: 3\r\nContent-Lengt: 1\r\n\r\n", "", none, none},
	}
	for _, tt := range tests {
		for side, want := range map[string]struct {
			options ChunkOptions
			err     ChunkError
		}{"strict": {strict, tt.strict}, "lenient": {lenient, tt.lenient}} {
			t.Run(side+"/"+tt.name, func(t *testing.T) {
				wire := []byte(tt.good + tt.bad)
				for _, size := range []int{1, 2, 3, len(wire)} {
					_, taken, err := decode(want.options, wire, size)
					if want.err == none {
						require.Equal(t, io.EOF, err)
						require.Equal(t, len(wire), taken)
					} else {
						require.Equal(t, want.err, err)
						require.Equal(t, len(tt.good), taken, "%q", wire[:taken])
					}
				}
			})
		}
	}
}

// Every byte of a chunk's framing counts: its line, and the CR LF after its data. 16
// bytes and twice the data are free; 16 KiB are allowed beyond that.
func TestFramingOverhead(t *testing.T) {
	const over = 1 << 10 // bytes beyond the free ones, for each chunk of one byte
	line := "1;" + strings.Repeat("x", over+16+2-len("1;\r\n\r\n"))
	chunk := line + "\r\nx\r\n"
	require.Len(t, chunk, over+16+2+1)
	for _, options := range []ChunkOptions{strict, lenient} {
		wire := strings.Repeat(chunk, maxChunkOverhead/over)
		data, _, err := decode(options, []byte(wire+"0\r\n\r\n"), 1<<20)
		require.Equal(t, io.EOF, err)
		require.Len(t, data, maxChunkOverhead/over)

		// One more chunk, with one byte beyond the free ones.
		last := "1;" + strings.Repeat("y", 16+2+1-len("1;\r\n\r\n")) + "\r\n"
		_, taken, err := decode(options, []byte(wire+last+"x\r\n0\r\n\r\n"), 1<<20)
		require.Equal(t, errHardlyAnyData, err)
		require.Equal(t, len(wire)+len(last)-1, taken)

		_, _, err = decode(options, []byte(wire+"1;"+strings.Repeat("y", 16+2-len("1;\r\n\r\n"))+"\r\nx\r\n0\r\n\r\n"), 1<<20)
		require.Equal(t, io.EOF, err)
	}
}

// FuzzChunked checks that it does not matter how the bytes arrive, that the lenient side
// decodes whatever the strict side accepts alike, and that net/http, where it accepts the
// same body, finds the same data.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{
		"3\r\nabc\r\n0\r\n\r\n",
		"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nrest",
		"1 \r\na\r\n0\r\nContent-Length: 1\r\n\r\n",
		"00000000000000001\r\na\r\n0\r\n\n",
	} {
		f.Add([]byte(seed), 1)
		f.Add([]byte(seed), 4)
	}
	f.Fuzz(func(t *testing.T, wire []byte, size int) {
		size = max(size, 1)
		type result struct {
			data  string
			taken int
			err   string
		}
		run := func(options ChunkOptions, size int) result {
			data, taken, err := decode(options, wire, size)
			return result{string(data), taken, fmt.Sprint(err)}
		}
		checked, loose := run(strict, len(wire)), run(lenient, len(wire))
		require.Equal(t, checked, run(strict, size))
		require.Equal(t, loose, run(lenient, size))
		if checked.err == io.EOF.Error() {
			require.Equal(t, checked, loose)
		}
		if loose.err != io.EOF.Error() {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire)))
		if err == nil {
			require.Equal(t, string(theirs), loose.data)
		}
	})
}
