package life

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/rig"
)

// The kernel's descriptor table has room for all connections from the start: growing
// it makes whoever opens a descriptor wait for 10 to 20 ms.
func TestDescriptorsHaveRoom(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_CONNECTIONS": "1000"})).Ready()
	room := func() int {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.Cmd.Process.Pid))
		require.NoError(t, err)
		size := regexp.MustCompile(`FDSize:\s+(\d+)`).FindSubmatch(status)
		require.NotNil(t, size)
		n, err := strconv.Atoi(string(size[1]))
		require.NoError(t, err)
		return n
	}
	var limit unix.Rlimit // usher's is the same
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	want := min(2000, int(limit.Cur)) // a client and a line for each of 1,000
	require.Eventually(t, func() bool { return room() >= want }, rig.Patience, 5*time.Millisecond)
}
