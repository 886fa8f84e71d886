package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Limits of a small container. The quota is per 100 ms.
type limits struct {
	memory int64 // bytes
	pids   int64
	quota  time.Duration
}

var small = limits{memory: 128 << 20, pids: 64, quota: 50 * time.Millisecond}

// A container is the image under a real runtime, as Docker would run it: the image's
// user, no capabilities, a read-only root, cgroup limits. It shares the host's
// network, so that its loopback is the test's.
type container struct {
	*rig.Usher
	im     *image
	id     string
	bundle string
	state  string // the runtime's own folder
	cgroup *cgroup
}

// needContainer skips tests that need root and a container runtime.
func needContainer(t *testing.T) {
	t.Helper()
	needImage(t)
	rig.Need(t, "runc", "runc")
}

// runs counts containers, to give each a name of its own.
var runs = make(chan int, 1)

func init() { runs <- 0 }

// startContainer starts the image's entry point and waits until it is ready.
func startContainer(t *testing.T, im *image, l limits, settings rig.Env) *container {
	t.Helper()
	c := runContainer(t, im, l, settings)
	line := c.WaitLine(`"msg":"listening"`)
	var said struct{ Public, Admin string }
	require.NoError(t, json.Unmarshal([]byte(line), &said))
	c.Public, c.Admin = said.Public, said.Admin
	c.Ready()
	if c.cgroup.usable && !c.cgroup.v2 {
		// Version 1 counts the memory of sockets separately, and only if asked to.
		limit := filepath.Join(c.cgroup.dir("memory"), "memory.kmem.tcp.limit_in_bytes")
		require.NoError(t, os.WriteFile(limit, []byte(strconv.FormatInt(l.memory, 10)), 0))
	}
	return c
}

// runContainer starts the image's entry point. The container, its cgroups and its
// mounts are removed when the test ends, however it ends.
func runContainer(t *testing.T, im *image, l limits, settings rig.Env) *container {
	t.Helper()
	n := <-runs
	runs <- n + 1
	c := &container{im: im, id: fmt.Sprintf("usher-test-%d-%d", os.Getpid(), n), bundle: t.TempDir(), state: t.TempDir()}
	c.cgroup = newCgroup(t, c.id)
	spec := c.spec(l, rig.Env{
		"USHER_LISTEN_ADDR": "127.0.0.1:0", "USHER_ADMIN_ADDR": "127.0.0.1:0",
		"USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "200ms",
	}.With(settings))
	text, err := json.Marshal(spec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.bundle, "config.json"), text, 0o600))
	c.Usher = &rig.Usher{T: t, Cmd: c.runc("run", "--bundle", c.bundle, c.id), News: make(chan struct{}), Exited: make(chan struct{})}
	stderr, err := c.Cmd.StderrPipe()
	require.NoError(t, err)
	c.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // where the tests are killed nothing cleans up
	t.Cleanup(c.remove)
	require.NoError(t, c.Cmd.Start())
	go func() {
		c.Gather(stderr)
		_ = c.Cmd.Wait()
		c.Status = c.Cmd.ProcessState.ExitCode()
		close(c.Exited)
	}()
	return c
}

// spec is the runtime's configuration (OCI runtime spec 1.0), as Docker writes it.
func (c *container) spec(l limits, settings rig.Env) map[string]any {
	d := readDockerfile(c.im.t)
	user := strings.Split(c.im.user, ":")
	uid, err := strconv.Atoi(user[0])
	require.NoError(c.im.t, err)
	gid, err := strconv.Atoi(user[1])
	require.NoError(c.im.t, err)
	none := []string{}
	mount := func(kind, source, at string, options ...string) map[string]any {
		return map[string]any{"type": kind, "source": source, "destination": at, "options": options}
	}
	var namespaces []map[string]string
	for _, kind := range []string{"pid", "mount", "ipc", "uts", "cgroup"} {
		namespaces = append(namespaces, map[string]string{"type": kind})
	}
	system := map[string]any{
		"namespaces":    namespaces,
		"maskedPaths":   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"},
		"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if c.cgroup.usable {
		system["cgroupsPath"] = "/" + c.id
		system["resources"] = map[string]any{
			"memory": map[string]any{"limit": l.memory, "swap": l.memory},
			"pids":   map[string]any{"limit": l.pids},
			"cpu":    map[string]any{"quota": l.quota.Microseconds(), "period": 100_000},
		}
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": c.im.root, "readonly": true},
		"hostname":   "worker",
		"process": map[string]any{
			"user": map[string]any{"uid": uid, "gid": gid}, "cwd": "/", "noNewPrivileges": true,
			"args": d.exec("ENTRYPOINT"), "env": settings.List(),
			"capabilities": map[string]any{"bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none},
			"rlimits":      []map[string]any{{"type": "RLIMIT_NOFILE", "hard": 20_000, "soft": 20_000}},
		},
		"mounts": []map[string]any{
			mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
			mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
			mount("tmpfs", "shm", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
			mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
			mount("cgroup", "cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "ro"),
			mount("bind", c.im.data, "/var/lib/usher", "rbind", "rw"),
		},
		"linux": system,
	}
}

// runc returns a command of the runtime.
func (c *container) runc(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root", c.state}, args...)...)
}

// exec runs a command in the container, as its user, and waits for it.
func (c *container) exec(settings rig.Env, args ...string) (status int, said string) {
	c.T.Helper()
	words := []string{"exec"}
	for _, variable := range settings.List() {
		words = append(words, "--env", variable)
	}
	cmd := c.runc(append(append(words, c.id), args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(c.T, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// pid returns the process ID of the container's first process, as seen from outside.
func (c *container) pid() int {
	c.T.Helper()
	out, err := c.runc("state", c.id).Output()
	require.NoError(c.T, err)
	var state struct{ Pid int }
	require.NoError(c.T, json.Unmarshal(out, &state))
	return state.Pid
}

// signal sends a signal to the container's first process.
func (c *container) signal(s syscall.Signal) {
	c.T.Helper()
	out, err := c.runc("kill", c.id, strconv.Itoa(int(s))).CombinedOutput()
	require.NoError(c.T, err, string(out))
}

// remove ends the container and removes everything the runtime made.
func (c *container) remove() {
	_ = c.runc("delete", "--force", c.id).Run()
	if c.Cmd.Process != nil {
		_ = c.Cmd.Process.Kill() // a runtime that has not come as far as its container
		<-c.Exited
	}
	c.cgroup.remove()
}

// A cgroup is where the kernel enforces a container's limits and counts.
type cgroup struct {
	t      testing.TB
	usable bool // it can be made here
	v2     bool
	name   string
}

const cgroups = "/sys/fs/cgroup"

// newCgroup finds out which version there is and whether groups can be made.
func newCgroup(t testing.TB, name string) *cgroup {
	g := &cgroup{t: t, name: name}
	controllers, err := os.ReadFile(cgroups + "/cgroup.controllers")
	g.v2 = err == nil && strings.Contains(string(controllers), "memory")
	probe := g.dir("memory") + "-probe"
	if err := os.Mkdir(probe, 0o755); err == nil {
		g.usable = syscall.Rmdir(probe) == nil
	}
	return g
}

// need skips tests that make no sense without limits.
func (g *cgroup) need() {
	g.t.Helper()
	if g.usable {
		return
	}
	rig.Missing(g.t, "no limit would be enforced: that takes root and a writable /sys/fs/cgroup")
}

func (g *cgroup) dir(controller string) string {
	if g.v2 {
		return filepath.Join(cgroups, g.name)
	}
	return filepath.Join(cgroups, controller, g.name)
}

// remove removes the groups. The runtime must have left none of its own behind.
func (g *cgroup) remove() {
	g.t.Helper()
	for _, controller := range []string{"memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio", "systemd", "unified"} {
		dir := g.dir(controller)
		require.Eventually(g.t, func() bool {
			err := syscall.Rmdir(dir)
			return err == nil || errors.Is(err, fs.ErrNotExist)
		}, rig.Patience, 10*time.Millisecond, dir)
	}
}

// read returns a number from the first file that exists: the one after key, or the
// only one.
func (g *cgroup) read(controller, key string, files ...string) (int64, bool) {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(g.dir(controller), file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if key == "" && len(words) == 1 || len(words) == 2 && words[0] == key {
				n, err := strconv.ParseInt(words[len(words)-1], 10, 64)
				if err == nil {
					return n, true
				}
			}
		}
	}
	return 0, false
}

// A usage is memory that cannot be reclaimed, in bytes: the file cache is given up
// before anyone is killed.
type usage struct{ processes, kernel, sockets int64 }

func (u usage) total() int64 { return u.processes + u.kernel + u.sockets }

func (u usage) String() string {
	return fmt.Sprintf("%d MiB (processes %d, kernel %d, socket buffers %d)", u.total()>>20, u.processes>>20, u.kernel>>20, u.sockets>>20)
}

// usage returns false if the group is gone.
func (g *cgroup) usage() (u usage, ok bool) {
	if g.v2 {
		u.processes, ok = g.read("memory", "anon", "memory.stat")
		u.kernel, _ = g.read("memory", "kernel", "memory.stat")
		u.sockets, _ = g.read("memory", "sock", "memory.stat")
		return u, ok
	}
	u.processes, ok = g.read("memory", "total_rss", "memory.stat")
	u.kernel, _ = g.read("memory", "", "memory.kmem.usage_in_bytes")
	u.sockets, _ = g.read("memory", "", "memory.kmem.tcp.usage_in_bytes")
	return u, ok
}

// kills returns how many processes the kernel has killed for want of memory.
func (g *cgroup) kills() int64 {
	g.t.Helper()
	n, ok := g.read("memory", "oom_kill", "memory.events", "memory.oom_control")
	require.True(g.t, ok, "no count of kills")
	return n
}

// throttled returns for how many periods the group's processes were kept from running.
func (g *cgroup) throttled() int64 {
	g.t.Helper()
	n, ok := g.read("cpu", "nr_throttled", "cpu.stat")
	require.True(g.t, ok, "no cpu.stat")
	return n
}

// mostTasks returns the largest number of processes and threads there has been, or the
// present one if that is not counted.
func (g *cgroup) mostTasks() int64 {
	g.t.Helper()
	n, ok := g.read("pids", "", "pids.peak", "pids.current")
	require.True(g.t, ok, "no pids.current")
	return n
}

// A watch samples a cgroup's memory until it is ended, or the group is gone.
type watch struct {
	end  chan struct{}
	most chan [2]usage
}

func (g *cgroup) watch() *watch {
	w := &watch{end: make(chan struct{}), most: make(chan [2]usage, 1)}
	go func() {
		var most, heap usage
		defer func() { w.most <- [2]usage{most, heap} }()
		for {
			now, ok := g.usage()
			if !ok {
				return
			}
			if now.total() > most.total() {
				most = now
			}
			if now.processes > heap.processes {
				heap = now
			}
			select {
			case <-w.end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return w
}

// peak ends the watch and returns the highest usages, in all and by processes.
func (w *watch) peak() (all, processes usage) {
	close(w.end)
	most := <-w.most
	return most[0], most[1]
}
