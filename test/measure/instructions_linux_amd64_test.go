package measure

import (
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	syscpu "golang.org/x/sys/cpu"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

var updateInstructions = flag.Bool("update-instructions", false, "write test/measure/testdata/instructions.tsv")

const instructionsFile = "testdata/instructions.tsv"

// How far a count may be from the recorded one. Runs of one build differ by less than
// 1 %, all of it in the start of the process, which hashes its tables with random
// seeds. The processor hardly matters, since valgrind presents the same one to every
// program.
const (
	moreInstructions  = 0.03 // more than this fails
	fewerInstructions = 0.10 // fewer than this is worth recording
)

// A hotFunction is a benchmark whose instructions are counted, a line of the file.
type hotFunction struct {
	pkg, benchmark string
	n              int     // operations to count: some 60 million instructions, so that the start's spread is small
	instructions   float64 // recorded, per operation
}

// A hot function must not cost more instructions than were recorded. The packages' own
// benchmarks are counted, each in its own process under callgrind, in a short run and
// a long one: the difference in instructions divided by the difference in operations
// is the cost of one operation, without the start. No garbage is collected during the
// runs. Neither time nor whatever else the machine does plays a part.
func TestInstructions(t *testing.T) {
	if !*updateInstructions {
		full.Only(t)
	}
	t.Parallel()
	if rig.RaceEnabled {
		t.Skip("the race detector's instructions would be counted")
	}
	valgrind := rig.Need(t, "valgrind", "valgrind")
	if !syscpu.X86.HasAVX2 {
		t.Skip("Go takes other ways through its library on a processor without AVX2")
	}
	version, list := readInstructions(t)
	dir := t.TempDir()
	buildBenchmarks(t, dir, list)
	t.Cleanup(func() {
		if *updateInstructions && !t.Failed() {
			writeInstructions(t, list)
		}
	})
	for i := range list {
		h := &list[i]
		t.Run(h.pkg+"/"+h.benchmark, func(t *testing.T) {
			t.Parallel()
			few := h.count(t, valgrind, dir, h.n/10)
			many := h.count(t, valgrind, dir, h.n/10+h.n)
			got := float64(many-few) / float64(h.n)
			if *updateInstructions {
				h.record(got)
			} else {
				h.judge(t, got, version)
			}
		})
	}
}

// buildBenchmarks builds the test binaries of the packages for the processor that
// releases are built for. Without symbols valgrind starts faster.
func buildBenchmarks(t *testing.T, dir string, list []hotFunction) {
	t.Helper()
	args := []string{"test", "-c", "-vet=off", "-ldflags", "-s -w", "-o", dir + "/"}
	for _, h := range list {
		if pkg := "../../" + h.pkg; !slices.Contains(args, pkg) {
			args = append(args, pkg)
		}
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "GOFLAGS=", "GOAMD64=v1")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// count returns the instructions of a whole process that runs n operations of the
// benchmark.
func (h *hotFunction) count(t *testing.T, valgrind, dir string, n int) int64 {
	t.Helper()
	run := exec.Command(valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", "--vgdb=no",
		filepath.Join(dir, filepath.Base(h.pkg)+".test"), "-test.run=^$", "-test.benchtime", fmt.Sprint(n, "x"),
		"-test.bench", "^"+strings.ReplaceAll(regexp.QuoteMeta(h.benchmark), "/", "$/^")+"$")
	run.Dir = filepath.Join("../..", h.pkg)
	run.Env = rig.Env{"GOGC": "off", "GOMEMLIMIT": "off", "GOMAXPROCS": "1", "GODEBUG": "asyncpreemptoff=1", "MODEXP_WAY": "adx", "TMPDIR": t.TempDir()}.List()
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, fmt.Sprintf(`(?m)^%s\s+%d\s`, regexp.QuoteMeta(h.benchmark), n), string(out), "it did not run")
	collected := regexp.MustCompile(`Collected : (\d+)`).FindSubmatch(out)
	require.NotNil(t, collected, "%s", out)
	total, err := strconv.ParseInt(string(collected[1]), 10, 64)
	require.NoError(t, err)
	return total
}

// judge compares a count with the recorded one. With another version of Go a count
// over the limit may be due to the compiler, so the test is skipped, not failed.
func (h *hotFunction) judge(t *testing.T, got float64, version string) {
	const renew = "go test ./test/measure -run Instructions -update-instructions"
	change := got/h.instructions - 1
	switch {
	case change < -fewerInstructions:
		t.Logf("%.1f %% fewer than recorded: keep that, %s", -100*change, renew)
	case change <= moreInstructions:
		t.Logf("%.0f instructions an operation, recorded %.0f", got, h.instructions)
	case version != runtime.Version():
		t.Skipf("%.1f %% more than recorded, but with %s, and this is %s; to go on guarding with it: %s", 100*change, version, runtime.Version(), renew)
	default:
		t.Errorf("%.0f instructions an operation, %.1f %% more than the %.0f recorded (%.0f %% are allowed). Find out why: go test -run '^$' -bench '^%s$' -cpuprofile cpu.prof ./%s. Where it is worth it: %s",
			got, 100*change, h.instructions, 100*moreInstructions, h.benchmark, h.pkg, renew)
	}
}

// record takes a new count. If it differs by no more than chance, the old one stays,
// so that the file's history shows only real changes.
func (h *hotFunction) record(got float64) {
	if math.Abs(got/h.instructions-1) > 0.01 {
		h.instructions = math.Round(got)
	}
}

// readInstructions reads the counts and the version of Go they were made with.
func readInstructions(t *testing.T) (version string, list []hotFunction) {
	t.Helper()
	text, err := os.ReadFile(instructionsFile)
	require.NoError(t, err)
	header, lines, _ := strings.Cut(string(text), "\n")
	_, err = fmt.Sscanf(header, instructionsHeader, &version)
	require.NoError(t, err)
	for line := range strings.Lines(lines) {
		var h hotFunction
		_, err := fmt.Sscan(line, &h.pkg, &h.benchmark, &h.n, &h.instructions)
		require.NoError(t, err, line)
		list = append(list, h)
	}
	require.NotEmpty(t, list)
	return version, list
}

// instructionsHeader is the file's first line.
const instructionsHeader = "# package, benchmark, operations counted, instructions an operation with %s"

func writeInstructions(t *testing.T, list []hotFunction) {
	t.Helper()
	text := fmt.Sprintf(instructionsHeader+"\n", runtime.Version())
	for _, h := range list {
		text += fmt.Sprintf("%s\t%s\t%d\t%.0f\n", h.pkg, h.benchmark, h.n, h.instructions)
	}
	require.NoError(t, os.WriteFile(instructionsFile, []byte(text), 0o644))
}
