package front

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Empty lines before a request are skipped, wherever they are cut; a CR without an LF is
// not.
func TestEmptyLinesBeforeARequest(t *testing.T) {
	const head = "GET / HTTP/1.1\r\n\r\n"
	for lines, want := range map[string]bool{
		"": true, "\r\n": true, "\n": true, "\r\n\n\r\n": true, "\r": false, "\r\r\n": false, "\r\n\r": false,
	} {
		for cut := range len(lines) + 1 {
			var g guard
			pieces := []string{lines[:cut], lines[cut:] + head}
			passed, fine := "", true
			for _, p := range pieces {
				p = p[g.blank([]byte(p)):]
				n, _, ok := g.pass([]byte(p))
				passed, fine = passed+p[:n], fine && ok
			}
			require.Equal(t, want, fine && passed == head, "%q, cut at %d: passed %q", lines, cut, passed)
		}
	}
}
