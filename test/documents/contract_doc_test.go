package documents

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func doc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	require.NoError(t, err)
	return string(text)
}

// names lists the matches in a document, sorted and without repetition.
func names(text, pattern string) []string {
	list := regexp.MustCompile(pattern).FindAllString(text, -1)
	slices.Sort(list)
	return slices.Compact(list)
}

// The contract names every setting, and no others.
func TestContractSettings(t *testing.T) {
	const setting = `\bUSHER_[A-Z0-9_]*[A-Z0-9]\b`
	there := names(doc(t, "settings.md"), "(?m)^\\| `"+setting)
	require.NotEmpty(t, there)
	for i := range there {
		there[i] = strings.TrimPrefix(there[i], "| `")
	}
	require.ElementsMatch(t, there, names(doc(t, "contract.md"), setting))
}

// The contract's checks have the statuses and codes of the table of answers, and the
// table has no others.
func TestContractAnswers(t *testing.T) {
	statuses := map[string][]string{} // of each code
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d{3})[^|]*\\| `([a-z_]+)`").FindAllStringSubmatch(doc(t, "answers.md"), -1) {
		statuses[row[2]] = append(statuses[row[2]], row[1])
	}
	contract := doc(t, "contract.md")
	checks := 0
	for _, row := range regexp.MustCompile(`(?m)^\| \d+ \| .* \| (\d{3})[^|]*\| (.*) \|$`).FindAllStringSubmatch(contract, -1) {
		for _, code := range names(row[2], "[a-z]+_[a-z_]+|draining") {
			require.Contains(t, statuses[code], row[1], code)
			checks++
		}
	}
	require.Greater(t, checks, 17)
	for code := range statuses {
		require.Contains(t, contract, "`"+code+"`")
	}
}

// Every metric that the contract names exists.
func TestContractMetrics(t *testing.T) {
	contract, metrics := doc(t, "contract.md"), doc(t, "metrics.md")
	list := names(contract, "\\busher_[a-z_]*[a-z]\\b")
	require.Greater(t, len(list), 10)
	for _, name := range list {
		require.Contains(t, metrics, "`"+name+"`")
	}
}
