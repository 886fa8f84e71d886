package sidecar

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/test/doctable"
)

// The tables in the documents match the code: settings come from the struct tags, and
// answers from the table of refusals.
func TestTables(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{"settings": config.WriteMarkdown, "answers": WriteAnswers} {
		var table strings.Builder
		require.NoError(t, write(&table))
		doctable.Check(t, "../docs/"+name+".md", map[string]string{name: table.String()})
	}
}
