package sidecar

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config"
)

var update = flag.Bool("update", false, "write the README's tables")

// The README's tables are the code's: settings from the struct tags, answers
// from the table of refusals.
func TestREADME(t *testing.T) {
	const path = "../README.md"
	readme, err := os.ReadFile(path)
	require.NoError(t, err)
	var settings, answers bytes.Buffer
	require.NoError(t, config.WriteMarkdown(&settings))
	require.NoError(t, WriteAnswers(&answers))
	want := section(t, string(readme), "settings", settings.String())
	want = section(t, want, "answers", answers.String())
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(readme), "run: go test ./sidecar -run README -update")
}

// section replaces what stands between the markers of a name.
func section(t *testing.T, text, name, content string) string {
	before, rest, ok := strings.Cut(text, "<!-- "+name+":")
	require.True(t, ok, "no marker for %s", name)
	marker, rest, ok := strings.Cut(rest, "-->\n")
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "<!-- /"+name+" -->")
	require.True(t, ok, "no end marker for %s", name)
	return before + "<!-- " + name + ":" + marker + "-->\n" + content + "<!-- /" + name + " -->" + after
}
