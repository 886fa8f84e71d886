package documents

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wallClock lists the files that may turn a time into a wall-clock number, each for a
// time stamp that somebody reads. Waits, time-outs and ages are differences of
// time.Time, which use the monotonic clock and do not jump when the wall clock is set.
var wallClock = []string{
	"sidecar/admin/gauges.go",   // usher_public_key_fetched_timestamp_seconds
	"sidecar/front/date.go",     // the Date field
	"sidecar/manage.go",         // when a session was opened, and expires
	"sidecar/report/status.go",  // when a request came, began and ended
	"sidecar/status/history.go", // the charts' time axis
	"sidecar/trace/encode.go",   // when a span began and ended
}

// Comparing or subtracting wall-clock numbers goes wrong when the clock is set, so
// only time stamps use them.
func TestNothingWaitsOnTheWallClock(t *testing.T) {
	t.Parallel()
	var found []string
	for _, root := range []string{"config", "crypto", "envelope", "replay", "reorder", "sidecar", "cmd/usher"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, "../.."+string(filepath.Separator)))
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.SelectorExpr)
				if ok && isWallClock(call.Sel.Name) {
					if slices.Contains(wallClock, name) {
						found = append(found, name)
					} else {
						t.Errorf("%s: %s of a time: subtract times, or list the file as one that makes time stamps",
							fmt.Sprint(set.Position(call.Pos())), call.Sel.Name)
					}
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	slices.Sort(found)
	require.Equal(t, wallClock, slices.Compact(found), "wallClock lists a file that no longer makes a time stamp")
}

func isWallClock(name string) bool {
	return slices.Contains([]string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC"}, name)
}
