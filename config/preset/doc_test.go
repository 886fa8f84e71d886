package preset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/usher-sidecar/usher/test/doctable"
)

// docs/engines.md shows the table of this package.
func TestEnginesDoc(t *testing.T) {
	doctable.Check(t, "../../docs/engines.md", map[string]string{"engines": markdown()})
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
