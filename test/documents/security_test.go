package documents

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateLicences = flag.Bool("update-licences", false, "write docs/licences.md")

// Every test that a document cites exists.
func TestClaimsHaveTheirTests(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range function.FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	}))
	for _, doc := range []string{"SECURITY.md", "docs/reliability.md"} {
		text, err := os.ReadFile(filepath.Join("../..", doc))
		require.NoError(t, err)
		named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)").FindAllSubmatch(text, -1)
		require.Greater(t, len(named), 30, "%s: the claims name their tests", doc)
		for _, name := range named {
			require.True(t, there[string(name[1])], "%s names %s, which does not exist", doc, name[1])
		}
	}
}

// licences are the texts by which licences are recognised; the first match counts.
var licences = []struct{ name, phrase string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"BSD-3-Clause", "Neither the name"},
	{"BSD-3-Clause", "names of its contributors may not be used"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute"},
}

// docs/licences.md lists every module that is linked into a binary, with the licence
// in its source.
func TestLicencesAreListed(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", "../../cmd/...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	lines = slices.Compact(lines)
	require.Greater(t, len(lines), 10)

	var doc bytes.Buffer
	doc.WriteString("# Licences of what is linked in\n\n" +
		"Written by `go test ./test/documents -run LicencesAreListed -update-licences` and checked by the tests. " +
		"The Go runtime and standard library are BSD-3-Clause.\n\n| module | version | licence |\n| --- | --- | --- |\n")
	for _, line := range lines {
		if line == "" {
			continue
		}
		module := strings.Fields(line)
		require.Len(t, module, 3, line)
		fmt.Fprintf(&doc, "| %s | %s | %s |\n", module[0], module[1], licenceOf(t, module[2]))
	}
	const path = "../../docs/licences.md"
	if *updateLicences {
		require.NoError(t, os.WriteFile(path, doc.Bytes(), 0o644))
	}
	listed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, doc.String(), string(listed), "run: go test ./test/documents -run LicencesAreListed -update-licences")
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "LICENSE*"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "%s has no licence", dir)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, l := range licences {
		if strings.Contains(words, l.phrase) {
			return l.name
		}
	}
	require.FailNow(t, "unknown licence", files[0])
	return ""
}
