package sidecar

import (
	"bytes"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config"
)

var update = flag.Bool("update", false, "write the documents' tables")

// The tables of settings and answers are the code's: settings from the struct
// tags, answers from the table of refusals.
func TestTables(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{"settings": config.WriteMarkdown, "answers": WriteAnswers} {
		path := "../docs/" + name + ".md"
		doc, err := os.ReadFile(path)
		require.NoError(t, err)
		var table bytes.Buffer
		require.NoError(t, write(&table))
		want := section(t, string(doc), name, table.String())
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
			continue
		}
		require.Equal(t, want, string(doc), "run: go test ./sidecar -run Tables -update")
	}
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
