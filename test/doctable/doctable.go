// Package doctable compares tables in documents with the code they describe, and
// writes them when a test is run with -update.
package doctable

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables in docs/")

// Check requires that a document has these tables, by name. A table stands between
// <!-- NAME: written by COMMAND --> and <!-- /NAME -->.
func Check(t *testing.T, path string, tables map[string]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	want, command := string(text), ""
	for name, table := range tables {
		before, rest, ok := strings.Cut(want, "<!-- "+name+": written by ")
		require.True(t, ok, "%s has no table %q", path, name)
		said, rest, ok := strings.Cut(rest, " -->\n")
		require.True(t, ok, "%s: the line above table %q has no end", path, name)
		_, after, ok := strings.Cut(rest, "<!-- /"+name+" -->")
		require.True(t, ok, "%s: table %q has no end", path, name)
		command = said
		want = before + "<!-- " + name + ": written by " + said + " -->\n" + table + "<!-- /" + name + " -->" + after
	}
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "%s is not what the code says; to write it: %s", path, command)
}
