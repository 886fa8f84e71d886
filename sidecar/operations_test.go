package sidecar

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// chapter returns the text below a heading of docs/operations.md.
func chapter(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n## "+name+"\n")
	require.True(t, found, name)
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// headings lists the sections of a chapter, each of which has a text.
func headings(t *testing.T, chapter string) (list []string) {
	t.Helper()
	for _, section := range strings.Split(chapter, "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		require.NotEmpty(t, strings.TrimSpace(text), name)
		list = append(list, name)
	}
	return list
}

// Every outcome and every alert has its section, and no section is left over.
func TestOperationsSections(t *testing.T) {
	var outcomes []string
	for o := range account.Outcomes {
		outcomes = append(outcomes, o.String())
	}
	require.ElementsMatch(t, outcomes, headings(t, chapter(t, "Outcomes")))

	rules, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	require.NoError(t, err)
	var alerts []string
	for _, m := range regexp.MustCompile(`(?m)^\s*- alert: (\S+)$`).FindAllStringSubmatch(string(rules), -1) {
		alerts = append(alerts, m[1])
	}
	require.NotEmpty(t, alerts)
	require.ElementsMatch(t, alerts, headings(t, chapter(t, "Alerts")))
}

// The section of an outcome begins with its status.
func TestOperationsStatuses(t *testing.T) {
	text := chapter(t, "Outcomes")
	for _, r := range refusals {
		if r.outcome == account.BadRequest {
			continue
		}
		_, section, _ := strings.Cut(text, "\n### "+r.outcome.String()+"\n")
		require.True(t, strings.HasPrefix(section, strconv.Itoa(r.status)), "%s is %d", r.outcome.String(), r.status)
	}
}

// Every line that Usher logs has its row, with its level; a row that ends in …
// has the line's beginning.
func TestOperationsLogLines(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`( …)? \\| (info|warn|error) \\| .+ \\|$").FindAllStringSubmatch(chapter(t, "Log lines"), -1)
	used := make([]bool, len(rows))
	levels := []string{"Info", "Warn", "Error", "Check"}
	found := 0
	for _, dir := range []string{".", "asynclog", "../cmd/usher"} {
		eachCall(t, dir, levels, func(level string, call *ast.CallExpr) {
			message := firstText(call.Args)
			if message == "" {
				return // a warning of config, or an error's method
			}
			if level == "Check" {
				level = "Info"
			}
			found++
			i := slices.IndexFunc(rows, func(row []string) bool {
				return row[3] == strings.ToLower(level) && (row[1] == message || row[2] != "" && strings.HasPrefix(message, row[1]))
			})
			require.GreaterOrEqual(t, i, 0, "docs/operations.md has no row for %s %q", level, message)
			used[i] = true
		})
	}
	require.Greater(t, found, 10)
	for i, row := range rows {
		require.True(t, used[i], "nothing logs %q", row[1])
	}
}

// Every warning at start has its row.
func TestOperationsWarnings(t *testing.T) {
	_, table, _ := strings.Cut(chapter(t, "Start"), "| warning | do |\n| --- | --- |\n")
	rows := regexp.MustCompile(`(?m)^\| (.+?) \| .+ \|$`).FindAllStringSubmatch(table, -1)
	var texts []string
	for _, path := range []string{"../config/warnings.go", "../config/report.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !slices.Contains([]string{"warnings", "misspelt", "memoryWarnings", "reportWarnings", "benchmarkWarnings"}, f.Name.Name) {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && len(l.Value) > 25 && strings.Contains(l.Value, " ") && !strings.HasPrefix(l.Value, `"; `) {
					texts = append(texts, l.Value)
				}
				return true
			})
		}
	}
	require.Equal(t, len(rows), len(texts), "%q", texts)
	for _, text := range texts {
		require.True(t, slices.ContainsFunc(rows, func(row []string) bool { return strings.Contains(text, row[1]) }), text)
	}
}

// eachCall finds the calls of methods with these names in a directory's sources.
func eachCall(t *testing.T, dir string, names []string, do func(name string, call *ast.CallExpr)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains(names, f.Sel.Name) {
					return true
				}
				if of, ok := f.X.(*ast.Ident); !ok || of.Name != "http" {
					do(f.Sel.Name, call)
				}
			}
			return true
		})
	}
}

// firstText is the first literal string among arguments, or the first part of
// one that is put together.
func firstText(args []ast.Expr) string {
	for _, arg := range args {
		for {
			sum, ok := arg.(*ast.BinaryExpr)
			if !ok {
				break
			}
			arg = sum.X
		}
		if l, ok := arg.(*ast.BasicLit); ok && l.Kind == token.STRING {
			text, _ := strconv.Unquote(l.Value)
			return text
		}
	}
	return ""
}
