package preset

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/engines.md")

// docs/engines.md shows the table as it is.
func TestEnginesDoc(t *testing.T) {
	const path, begin, end = "../../docs/engines.md", "<!-- engines: written by go test ./config/preset -run EnginesDoc -update -->\n", "<!-- /engines -->"
	doc, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(doc), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + begin + markdown() + end + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(doc), "run: go test ./config/preset -run EnginesDoc -update")
}

func markdown() string {
	var b strings.Builder
	b.WriteString("| engine | port | routes | open routes | health | running, waiting, cache |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, p := range table {
		figures := "–"
		if f := p.Figures; f.Has() {
			figures = code(append([]string{f.Running, f.Waiting}, f.Cache...))
			if f.Needs != "" {
				figures += " (start it with " + code([]string{f.Needs}) + ")"
			}
		}
		if p.Slots != "" {
			figures += "; " + code([]string{p.Slots}) + " states the slots"
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", code([]string{p.Name}), p.Port, code(p.Routes), code(p.OpenRoutes), code([]string{p.Health}), figures)
	}
	return b.String()
}

func code(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }
