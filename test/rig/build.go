package rig

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var Binary string

// besides is how many tests of a package run at once per processor: they spend most of
// their time waiting for other processes.
const besides = 4

// Main is the TestMain of each package: it builds the binary and lets more tests run at
// once than there are processors.
func Main(m *testing.M) {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(besides*runtime.GOMAXPROCS(0)))
	}
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "building usher:", err)
		os.Exit(1)
	}
	Binary = filepath.Join(dir, "usher")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build builds the binary and returns a new folder that holds a link to it. All packages
// share one binary, because linking takes longer than most tests: of the packages that
// one go command tests, only the first calls the go tool, which does nothing if nothing
// has changed. Each run has its own link, as a later run may replace the binary.
func build() (dir string, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	shared, err := os.UserCacheDir()
	if err != nil {
		shared = os.TempDir()
	}
	sum := sha256.Sum256([]byte(root))
	shared = filepath.Join(shared, "usher-test", hex.EncodeToString(sum[:8]))
	args := []string{"build"}
	if RaceEnabled {
		shared += "-race"
		args = append(args, "-race")
	}
	if err := os.MkdirAll(shared, 0o700); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(shared, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	made, note, run := filepath.Join(shared, "usher"), filepath.Join(shared, "made-by"), goCommand()
	if last, err := os.ReadFile(note); run == "" || err != nil || string(last) != run {
		if out, err := exec.Command("go", append(args, "-o", made, "../../cmd/usher")...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		if err := os.WriteFile(note, []byte(run), 0o600); err != nil {
			return "", err
		}
	}
	sweep(shared)
	if dir, err = os.MkdirTemp(shared, fmt.Sprintf("run-%d-", os.Getpid())); err != nil {
		return "", err
	}
	return dir, os.Link(made, filepath.Join(dir, "usher"))
}

// sweep removes what killed runs have left behind: folders more than a day old whose
// process is gone.
func sweep(shared string) {
	left, _ := filepath.Glob(filepath.Join(shared, "run*"))
	for _, dir := range left {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < 24*time.Hour {
			continue
		}
		var pid int
		_, err = fmt.Sscanf(filepath.Base(dir), "run-%d-", &pid)
		if err != nil || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}

// goCommand identifies the go command that runs this test by its process ID and start
// time. It is empty if that is unknown.
func goCommand() string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", os.Getppid()))
	if err != nil {
		return ""
	}
	id, rest, ok := strings.Cut(string(stat), " (go) ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return ""
	}
	return id + " " + fields[19] // starttime, proc_pid_stat(5)
}
