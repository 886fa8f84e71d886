package route

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBelow: whatever servers do to a path that a wildcard serves (decode it once or
// more, convert backslashes, clean it up), it stays below the wildcard and keeps its
// letters.
func FuzzBelow(f *testing.F) {
	for _, rest := range []string{"a", "a/../b", "%2e%2e/a", "%252e%252e%252fa", "..%5ca", "a%20b", "%c0%ae", "a;x/..;/b", "100%25", "%25%32%65"} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		const wildcard = "/v1/a/"
		if !isBelow([]byte(rest)) {
			return
		}
		seen := wildcard + rest
		for range 4 {
			tidy := path.Clean(strings.ReplaceAll(seen, `\`, "/"))
			require.True(t, strings.HasPrefix(tidy, wildcard), "%q becomes %q", rest, tidy)
			require.Equal(t, seen, tidy)
			require.Equal(t, strings.Count(rest, "/"), strings.Count(seen, "/")-3)
			decoded, err := url.PathUnescape(seen)
			if err != nil {
				break // what is decoded a second time need not be an escape
			}
			seen = decoded
		}
	})
}
