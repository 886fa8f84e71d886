package relay

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/dialect"
)

func TestEventTail(t *testing.T) {
	tests := []struct{ stream, separator string }{
		{"", ""},
		{"data: a\n\n", ""},
		{"data: a\r\n\r\n", ""},
		{"data: a\r\r", ""},
		{"data: a\n", "\n"},
		{"data: a\r\n", "\n"},
		{"data: a\r", "\n\n"},
		{"data: caf\u00e9", "\n\n"},
		{"data: \u4f60", "\n\n"},
		{"data: a", "\n\n"},
		{"data: {\"tok", "\n\n"},
		{"\n", "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.stream, func(t *testing.T) {
			var tail eventTail
			tail.write([]byte(tt.stream))
			require.Equal(t, tt.separator, tail.separator(dialect.Events))
		})
	}
}

// A line of JSON ends with LF; a CR is only white space before it.
func TestLinesTail(t *testing.T) {
	for stream, separator := range map[string]string{
		"": "", "{}\n": "", "{}\r\n": "", "{}\n\n": "", "{}": "\n", "{}\r": "\n", "{}\n\r": "\n", `{"a":`: "\n",
	} {
		var tail eventTail
		tail.write([]byte(stream))
		require.Equal(t, separator, tail.separator(dialect.Lines), "%q", stream)
	}
}

// The tail does not depend on how a stream is cut into chunks.
func TestEventTailOfChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.SliceOf(rapid.StringOf(rapid.SampledFrom([]rune("a\r\n")))).Draw(t, "chunks")
		var pieces, whole eventTail
		for _, c := range chunks {
			pieces.write([]byte(c))
		}
		stream := strings.Join(chunks, "")
		for i := range len(stream) {
			whole.write([]byte{stream[i]})
		}
		require.Equal(t, whole.separator(dialect.Events), pieces.separator(dialect.Events), "%q", stream)
	})
}

// FuzzEventTail compares the tail with what a reader makes of the stream (HTML Living
// Standard, section 9.2.5): after the separator, an event can begin.
func FuzzEventTail(f *testing.F) {
	for _, seed := range []string{"", "data: a\n\n", "data: a\r\n", "\r\r", "\n\r\n", "a\r", "\xff\n\xff", "data: \u2028\n\n"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		var tail eventTail
		cut = min(max(cut, 0), len(stream))
		tail.write(stream[:cut])
		tail.write(stream[cut:])
		var whole eventTail
		whole.write(stream)
		require.Equal(t, whole.separator(dialect.Events), tail.separator(dialect.Events))
		// All line ends are alike to a reader: the last line must be empty, and so must
		// the one before it, if there is one.
		text := string(stream) + tail.separator(dialect.Events)
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
		require.True(t, text == "" || strings.HasSuffix(text, "\n\n"), "%q", text)
	})
}
