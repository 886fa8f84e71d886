package documents

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// calls lists what each function of a file calls, in source order and without the
// receiver: x.body.read becomes body.read. Calls in a function literal belong to the
// function around it.
func calls(t *testing.T, path string) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	of := map[string][]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				of[f.Name.Name] = append(of[f.Name.Name], spelt(call.Fun))
			}
			return true
		})
	}
	return of
}

func spelt(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		switch of := spelt(e.X); of {
		case "x", "h", "x.h", "p", "gate.c", "g.c":
			return e.Sel.Name
		default:
			return of + "." + e.Sel.Name
		}
	}
	return ""
}

// inOrder reports whether list contains these in this order.
func inOrder(list, these []string) bool {
	for _, c := range list {
		if len(these) > 0 && c == these[0] {
			these = these[1:]
		}
	}
	return len(these) == 0
}

var (
	pathBlock = regexp.MustCompile("(?s)<!-- path: .*? -->\n```\n(.*?)```\n")
	pathLine  = regexp.MustCompile(`(?m)^  [│┊] ([\w.]+) +(.*)$`)
	pathChain = regexp.MustCompile(`[\w.]+(?: → [\w.]+)+`)
	pathCheck = regexp.MustCompile(`^(\d+(?:, \d+| to \d+)?)(?: |$)`)
)

// The diagram of a request's path in docs/architecture.md shows what the handler does:
// its steps in order, what they call, and the numbers of their checks.
func TestArchitecturePath(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/architecture.md")
	require.NoError(t, err)
	block := pathBlock.FindStringSubmatch(string(text))
	require.NotNil(t, block, "docs/architecture.md has no diagram of a request's path")
	lines := pathLine.FindAllStringSubmatch(block[1], -1)
	require.Greater(t, len(lines), 8)
	source, err := os.ReadFile("../../sidecar/handler.go")
	require.NoError(t, err)
	functions := calls(t, "../../sidecar/handler.go")
	functions["settle"] = calls(t, "../../sidecar/finish.go")["settle"]
	for _, file := range []string{"judge", "pass"} {
		for name, list := range calls(t, "../../sidecar/gate/"+file+".go") {
			functions["pass."+name] = list
		}
	}
	functions["pass.Judge"] = functions["pass.Check"] // which it makes one after the other

	var steps []string
	for _, line := range lines {
		name, rest := line[1], line[2]
		if name != "serve" && name != "settle" {
			steps = append(steps, name)
		}
		if check := pathCheck.FindStringSubmatch(rest); check != nil {
			require.Contains(t, string(source), "// "+check[1]+": ", name)
		}
		if chain := pathChain.FindString(rest); chain != "" {
			require.True(t, inOrder(functions[name], strings.Split(chain, " → ")), "%s calls %v, and not %s", name, functions[name], chain)
		}
	}
	require.True(t, inOrder(functions["run"], steps), "run calls %v, and not %v", functions["run"], steps)
	// Whatever else run calls is an accessor or a conversion.
	small := []string{"bodyLimit", "body.Bytes", "body.LeaveBudget", "punish", "why", "int64", "len", "max"}
	for _, c := range functions["run"] {
		require.True(t, slices.Contains(steps, c) || slices.Contains(small, c), "run calls %s, which the diagram does not show", c)
	}
}

// The table of packages lists every package and what it imports of ours.
func TestArchitecturePackages(t *testing.T) {
	t.Parallel()
	const project = "github.com/usher-sidecar/usher/"
	text, err := os.ReadFile("../../docs/architecture.md")
	require.NoError(t, err)
	rows := map[string]string{} // package → imports of ours
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\| .* \\| ?(.*?) ?\\|$").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			rows[name[1]] = row[2]
		}
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../../...").Output()
	require.NoError(t, err)
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], project)
		imports, known := rows[name]
		if !known {
			require.True(t, strings.HasPrefix(name, "test/") && strings.Contains(string(text), "`"+name+"`"), "docs/architecture.md does not name %s", name)
			continue
		}
		seen++
		if imports == "" || imports == "all of the above" {
			continue
		}
		for _, path := range fields[1:] {
			if inner, ok := strings.CutPrefix(path, project); ok {
				require.Contains(t, imports, "`"+inner+"`", "%s imports %s", name, inner)
			}
		}
	}
	require.Equal(t, len(rows), seen, "there is a row for a package that does not exist")
}
