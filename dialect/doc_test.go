package dialect

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/cost.md")

// TestWorkDoc: the table in docs/cost.md is this package's.
func TestWorkDoc(t *testing.T) {
	const path, begin, end = "../docs/cost.md", "-update -->\n", "<!-- /work -->"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + begin + workTable() + end + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run: go test ./dialect -run WorkDoc -update")
}

// workTable has a row for each API that states work.
func workTable() string {
	routes := map[*API][]string{}
	for route, api := range exact {
		if len(api.Limits) > 0 {
			routes[api] = append(routes[api], "`"+route+"`")
		}
	}
	var rows []string
	for api, paths := range routes {
		slices.Sort(paths)
		zero := ""
		if api.ZeroEndless {
			zero = "; 0 is no limit"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s%s | %s | %s | %s |\n", strings.Join(paths, ", "),
			names(readings(api.Limits)), zero, names(api.Copies), names(api.Prompts), names(readings(api.Insert))))
	}
	slices.Sort(rows)
	return "| route | limit | copies | prompts | inserted |\n| --- | --- | --- | --- | --- |\n" + strings.Join(rows, "")
}

func readings(list []Reading) (of []Member) {
	for _, r := range list {
		of = append(of, r.Member)
	}
	return of
}

func names(list []Member) string {
	var text []string
	for _, m := range list {
		text = append(text, "`"+m.String()+"`")
	}
	if len(text) == 0 {
		return "–"
	}
	return strings.Join(text, ", ")
}
