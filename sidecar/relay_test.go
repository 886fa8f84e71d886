package sidecar

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEventTail(t *testing.T) {
	tests := []struct{ stream, separator string }{
		{"", ""},
		{"data: a\n\n", ""},
		{"data: a\r\n\r\n", ""},
		{"data: a\r\r", ""},
		{"data: a\n", "\n"},
		{"data: a\r\n", "\n"},
		{"data: a", "\n\n"},
		{"data: {\"tok", "\n\n"},
		{"\n", "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.stream, func(t *testing.T) {
			var tail eventTail
			tail.write([]byte(tt.stream))
			require.Equal(t, tt.separator, tail.separator())
		})
	}
}

// However a stream is cut into chunks, its tail is the same.
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
		require.Equal(t, whole.separator(), pieces.separator(), "%q", stream)
	})
}
