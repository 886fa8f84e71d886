package documents

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	links    = regexp.MustCompile(`\]\(([^()\s]+)\)|(?:src|href|srcset)="([^"]+)"`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?)\s*$`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// documents lists the project's Markdown files.
func documents(t *testing.T) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("../..", func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case e.IsDir() && (name == "node_modules" || name == "testdata" || name == ".git"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"):
			list = append(list, p)
		}
		return nil
	}))
	require.Greater(t, len(list), 5)
	return list
}

// anchors returns the names that GitHub gives to a document's headings.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		title := linkText.ReplaceAllString(m[1], "$1")
		var name strings.Builder
		for _, c := range strings.ToLower(title) {
			switch {
			case unicode.IsLetter(c), unicode.IsDigit(c), c == '-', c == '_':
				name.WriteRune(c)
			case c == ' ':
				name.WriteByte('-')
			}
		}
		names[name.String()] = true
	}
	return names
}

// Every link in the documents leads somewhere. Files and headings are looked up; other
// addresses are only parsed, as tests use no network.
func TestLinks(t *testing.T) {
	t.Parallel()
	found, reached := 0, map[string]bool{}
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		prose := codeSpan.ReplaceAllString(fence.ReplaceAllString(string(text), ""), "")
		for _, m := range links.FindAllStringSubmatch(prose, -1) {
			found++
			target, err := url.Parse(m[1] + m[2])
			require.NoError(t, err, document)
			if target.IsAbs() {
				require.Contains(t, []string{"https", "http"}, target.Scheme, "%s: %s", document, target)
				require.NotEmpty(t, target.Host, "%s: %s", document, target)
				continue
			}
			file := document
			if target.Path != "" {
				file = path.Join(path.Dir(document), target.Path)
			}
			info, err := os.Stat(file)
			require.NoError(t, err, "%s: %s", document, target)
			reached[file] = true
			if target.Fragment == "" || info.IsDir() {
				continue
			}
			there, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, anchors(string(there))[target.Fragment], "%s: no heading for %s", document, target)
		}
	}
	require.Greater(t, found, 20)
	for _, document := range documents(t) {
		if path.Base(path.Dir(document)) == "docs" {
			require.True(t, reached[document], "nothing links to %s", document)
		}
	}
}
