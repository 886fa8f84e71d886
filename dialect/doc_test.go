package dialect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/usher-sidecar/usher/test/doctable"
)

// docs/cost.md shows the table of this package.
func TestWorkDoc(t *testing.T) {
	doctable.Check(t, "../docs/cost.md", map[string]string{"work": workTable()})
}

// workTable returns a row for each API that states work.
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
