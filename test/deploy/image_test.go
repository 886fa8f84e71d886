//go:build linux

package deploy

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

const (
	imageVersion = "v0.0.0-test"
	imageCommit  = "0123456789abcdef0123456789abcdef01234567"
	certificates = "/etc/ssl/certs/ca-certificates.crt"
)

// needImage skips tests that need root on Linux, for mounts and chroot.
func needImage(t *testing.T) {
	t.Helper()
	full.Only(t)
	if rig.RaceEnabled {
		t.Skip("the image's binary has no race detector: one of the two runs is enough")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the image's binary is built for amd64 here")
	}
	rig.Need(t, "unshare", "util-linux")
	rig.NeedFile(t, certificates, "apt-get install ca-certificates")
	if os.Geteuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		rig.Missing(t, "a mount namespace is needed: run it as root")
	}
}

// An image is the root of the final stage and how it is run.
type image struct {
	t          *testing.T
	user       string
	root, data string // data is the volume at /var/lib/usher
}

// buildImage does what docker build does, without Docker.
func buildImage(t *testing.T, d *dockerfile) *image {
	t.Helper()
	usher := d.compile("../..", nil)
	stage := filepath.Dir(usher)
	d.sh(".", d.command("mkdir ", "/empty", stage), nil)
	im := &image{t: t, user: d.one("USER"), root: d.assemble(stage), data: t.TempDir()}
	// A new volume gets the owner and mode of the image's folder in its place.
	info, err := os.Stat(filepath.Join(im.root, "var/lib/usher"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(im.data, int(owner.Uid), int(owner.Gid)))
	require.NoError(t, os.Chmod(im.data, info.Mode().Perm()))
	return im
}

// command runs arguments in the image as its user: the root read-only, the volume
// writable, no /dev and no /proc (a container engine provides more).
func (im *image) command(settings rig.Env, args ...string) *exec.Cmd {
	im.t.Helper()
	const script = `mount --bind "$1" "$1"
mount --bind "$2" "$1/var/lib/usher"
mount -o remount,bind,ro "$1"
root=$1 user=$3; shift 3
exec chroot --userspec="$user" "$root" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-ec", script, "sh",
		im.root, im.data, im.user}, args...)...)
	cmd.Env = settings.List()
	return cmd
}

// output runs a command and returns its output.
func (im *image) output(settings rig.Env, args ...string) (status int, said string) {
	im.t.Helper()
	cmd := im.command(settings, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(im.t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// The final stage holds the binary, certificates and the state folder, and has the
// labels of the OCI image spec.
func TestImageContents(t *testing.T) {
	t.Parallel()
	needImage(t)
	d := readDockerfile(t)
	im := buildImage(t, d)
	var files []string
	require.NoError(t, filepath.WalkDir(im.root, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		if !e.IsDir() {
			files = append(files, strings.TrimPrefix(path, im.root))
		}
		return nil
	}))
	require.ElementsMatch(t, []string{"/usher", certificates}, files)
	require.Equal(t, "65532:65532", im.user)

	info, err := os.Stat(filepath.Join(im.root, "usher"))
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(16_000_000), "bytes of the binary")

	program, err := elf.Open(filepath.Join(im.root, "usher"))
	require.NoError(t, err)
	defer func() { _ = program.Close() }()
	libraries, err := program.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libraries, "the binary is static")
	for _, p := range program.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary is static")
	}

	for _, name := range []string{"title", "description", "source", "documentation", "licenses", "version", "revision"} {
		require.NotEmpty(t, d.labels["org.opencontainers.image."+name], name)
	}
	require.Equal(t, "${VERSION}", d.labels["org.opencontainers.image.version"])
	require.Equal(t, "${COMMIT}", d.labels["org.opencontainers.image.revision"])

	status, said := im.output(rig.Env{}, append(d.exec("ENTRYPOINT"), "version")...)
	require.Zero(t, status, said)
	require.Contains(t, said, "usher "+imageVersion+" (commit "+imageCommit+", go1.")
}

// The final stage serves as the image's user with a read-only root: a signed request
// passes, the state file survives a SIGKILL, the health check works.
func TestImageRuns(t *testing.T) {
	t.Parallel()
	needImage(t)
	d := readDockerfile(t)
	im := buildImage(t, d)
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	with := rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": "/var/lib/usher/window"})
	serve := func() *rig.Usher { return rig.StartCommand(t, im.command(with, d.exec("ENTRYPOINT")...), with).Ready() }

	u := serve()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.Cmd.Process.Pid))
	require.NoError(t, err)
	require.Contains(t, string(status), "Uid:\t65532\t65532\t65532\t65532\n")
	require.Contains(t, string(status), "Gid:\t65532\t65532\t65532\t65532\n")
	once := s.Ticket().Flat(`"inputs":"a"`)
	require.Equal(t, http.StatusOK, u.Post("/generate", once).Status)
	where := rig.Env{"USHER_ADMIN_ADDR": u.Admin}
	healthy, said := im.output(where, d.exec("HEALTHCHECK")...)
	require.Zero(t, healthy, said)

	u.Kill()
	healthy, said = im.output(where, d.exec("HEALTHCHECK")...)
	require.Equal(t, 1, healthy, said)
	u = serve()
	require.Equal(t, "reqnum_replayed", u.Post("/generate", once).Code(), "the volume keeps what was spent")
	require.Equal(t, http.StatusOK, u.Post("/generate", s.Ticket().Flat("")).Status)

	m.CloseClientConnections()
	m.Close()
	where["USHER_ADMIN_ADDR"] = u.Admin
	require.Eventually(t, func() bool {
		healthy, said = im.output(where, d.exec("HEALTHCHECK")...)
		return healthy == 1 && strings.Contains(said, "upstream")
	}, rig.Patience, 50*time.Millisecond, "it says what is not ready")
	u.Signal(syscall.SIGTERM)
	require.Zero(t, u.Wait(), "usher must drain and exit 0 at SIGTERM")

	// Nothing but the volume can be written, whoever owns it.
	require.NoError(t, os.Chmod(im.root, 0o777))
	exit, said := im.output(with.With(rig.Env{"USHER_STATE_FILE": "/window"}), d.exec("ENTRYPOINT")...)
	require.Equal(t, 2, exit)
	require.Contains(t, said, "read-only file system")
}

// OpenShift runs an image as a user of its own choice in group 0: the state file can
// be created, used, and used again.
func TestImageRunsAsAnyUser(t *testing.T) {
	t.Parallel()
	needImage(t)
	d := readDockerfile(t)
	im := buildImage(t, d)
	im.user = "1000680000:0"
	s := rig.NewSigner(t)
	with := rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_STATE_FILE": "/var/lib/usher/window"})
	once := s.Ticket().Flat("")
	u := rig.StartCommand(t, im.command(with, d.exec("ENTRYPOINT")...), with).Ready()
	require.Equal(t, http.StatusOK, u.Post("/generate", once).Status)
	u.Kill()
	u = rig.StartCommand(t, im.command(with, d.exec("ENTRYPOINT")...), with).Ready()
	require.Equal(t, "reqnum_replayed", u.Post("/generate", once).Code())

	// Outside group 0 the user has no access.
	u.Kill()
	im.user = "1000680001:1000680001"
	exit, said := im.output(with, d.exec("ENTRYPOINT")...)
	require.Equal(t, 2, exit)
	require.Contains(t, said, "permission denied")
}

// copyContext copies what would be sent to docker build: everything that .dockerignore
// does not name. It understands the syntax that ours uses.
func copyContext(t *testing.T, to string) {
	t.Helper()
	text, err := os.ReadFile("../../.dockerignore")
	require.NoError(t, err)
	ignored := strings.Fields(string(text))
	require.NotEmpty(t, ignored)
	require.NoError(t, filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel("../..", path)
		require.NoError(t, err)
		into := filepath.Join(to, name)
		switch {
		case slices.Contains(ignored, name) || slices.Contains(ignored, "**/"+e.Name()):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return os.MkdirAll(into, 0o755)
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		return os.WriteFile(into, content, 0o644)
	}))
}

// The same sources give the same bytes: in another folder, with nothing cached, and as
// make release builds them.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	needImage(t)
	d := readDockerfile(t)
	here := d.compile("../..", nil)

	elsewhere := t.TempDir()
	copyContext(t, elsewhere)
	there := d.compile(elsewhere, rig.Env{"GOCACHE": t.TempDir()})
	require.Equal(t, fileSum(t, here), fileSum(t, there))

	rig.Need(t, "make", "make")
	dist := t.TempDir()
	d.sh("../..", `make -s "`+dist+`/usher-linux-amd64" DIST="`+dist+`" VERSION=`+imageVersion+` COMMIT=`+imageCommit, nil)
	require.Equal(t, fileSum(t, here), fileSum(t, filepath.Join(dist, "usher-linux-amd64")))
}
