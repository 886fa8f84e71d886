//go:build linux

package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A dockerfile is ours, one instruction per element: the tests build and run what it
// says, so that the two cannot drift apart.
type dockerfile struct {
	t      testing.TB
	shell  []string      // commands of the first stage, in order
	final  []instruction // of the last one
	labels map[string]string
}

type instruction struct{ name, rest string }

var label = regexp.MustCompile(`(org\.opencontainers\.image\.[a-z]+)="([^"]*)"`)

// readDockerfile understands the syntax that our file uses.
func readDockerfile(t testing.TB) *dockerfile {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	d := &dockerfile{t: t, labels: map[string]string{}}
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(text), "")
	stages := 0
	for line := range strings.Lines(joined) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		in := instruction{name, strings.TrimSpace(rest)}
		switch {
		case name == "FROM":
			stages++
		case stages == 1:
			if name == "RUN" {
				d.shell = append(d.shell, in.rest)
			}
		default:
			d.final = append(d.final, in)
		}
	}
	require.Equal(t, 2, stages)
	for _, m := range label.FindAllStringSubmatch(d.one("LABEL"), -1) {
		d.labels[m[1]] = m[2]
	}
	return d
}

// one returns the arguments of the only instruction of a name in the final stage.
func (d *dockerfile) one(name string) string {
	d.t.Helper()
	var found []string
	for _, in := range d.final {
		if in.name == name {
			found = append(found, in.rest)
		}
	}
	require.Len(d.t, found, 1, name)
	return found[0]
}

// exec parses the exec form of an instruction: a JSON list from its last bracket on.
func (d *dockerfile) exec(name string) (list []string) {
	d.t.Helper()
	text := d.one(name)
	require.NoError(d.t, json.Unmarshal([]byte(text[strings.Index(text, "["):]), &list), "%s is not in the exec form", name)
	return list
}

// command returns the one shell command of the build that contains a text, with the
// path it writes to moved below root.
func (d *dockerfile) command(text, path, root string) string {
	d.t.Helper()
	for _, c := range d.shell {
		if strings.Contains(c, text) {
			require.Equal(d.t, 1, strings.Count(c, " "+path), c)
			return strings.Replace(c, " "+path, " "+root+path, 1)
		}
	}
	require.FailNow(d.t, "the Dockerfile has no such command", text)
	return ""
}

// compile builds the binary as the Dockerfile says, from the sources in a folder, and
// returns its path.
func (d *dockerfile) compile(sources string, variables rig.Env) string {
	d.t.Helper()
	root := d.t.TempDir()
	d.sh(sources, d.command("go build ", "/usher", root), variables.With(rig.Env{"VERSION": imageVersion, "COMMIT": imageCommit}))
	return filepath.Join(root, "usher")
}

// sh runs a command of the build without GOFLAGS and the like, which the image does
// not have.
func (d *dockerfile) sh(dir, command string, variables rig.Env) {
	d.t.Helper()
	cmd := exec.Command("sh", "-ec", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variables.With(rig.Env{"GOFLAGS": "", "TARGETOS": "linux", "TARGETARCH": "amd64"}).List()...)
	out, err := cmd.CombinedOutput()
	require.NoError(d.t, err, "%s\n%s", command, out)
}

// assemble makes the root of the final stage: what its COPY lines copy, with their
// owners, and nothing else.
func (d *dockerfile) assemble(stage string) (root string) {
	d.t.Helper()
	root = d.t.TempDir()
	for _, in := range d.final {
		if in.name != "COPY" {
			continue
		}
		words := strings.Fields(in.rest)
		require.Equal(d.t, "--from=build", words[0])
		owner := "0:0"
		if o, ok := strings.CutPrefix(words[1], "--chown="); ok {
			owner, words = o, words[1:]
		}
		require.Len(d.t, words, 3)
		from, to := filepath.Join(stage, words[1]), filepath.Join(root, words[2])
		if _, err := os.Stat(from); err != nil {
			from = words[1] // the base image's own
		}
		if info, err := os.Stat(from); err == nil && info.IsDir() {
			from += "/." // its contents, as COPY has it
			d.sh(".", `mkdir -p "`+to+`"`, nil)
		}
		d.sh(".", `mkdir -p "$(dirname "`+to+`")" && cp -RL --preserve=mode "`+from+`" "`+to+`" && chown -R `+owner+` "`+to+`"`, nil)
	}
	return root
}
