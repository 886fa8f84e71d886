package test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A request must not cost more system calls than it needs. That does not depend
// on the machine's speed, but for those by which threads wait and wake, which
// are left out: reading the client's and the model server's side, each tried
// once in vain; probing and writing both; and what the log's lines and the
// machine's timers share out.
func TestSystemCallsOfARequest(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace", "strace")
	const requests, most = 200, 9.0
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	u := start(t, settings(m, s).with(env{"USHER_HEALTH_INTERVAL": "1h", "USHER_REORDER_HOLD": "0"})).ready()
	client := dial(t, u.public)
	send := func(n int) {
		for range n {
			client.request("POST", "/generate", s.ticket().flat(`"inputs":"hi"`))
			require.Equal(t, "200 OK\n{}", client.response())
		}
	}
	send(20)

	table := filepath.Join(t.TempDir(), "calls")
	tracer := exec.Command(strace, "-f", "-c", "-o", table, "-p", strconv.Itoa(u.cmd.Process.Pid))
	said, err := tracer.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, tracer.Start())
	attached := make([]byte, 256)
	_, err = said.Read(attached)
	require.NoError(t, err)
	if !strings.Contains(string(attached), "attached") {
		_ = tracer.Wait()
		t.Skipf("this machine does not allow tracing: %s", attached)
	}
	send(requests)
	require.NoError(t, tracer.Process.Signal(syscall.SIGINT))
	go func() { _, _ = io.Copy(io.Discard, said) }()
	_ = tracer.Wait()

	text, err := os.ReadFile(table)
	require.NoError(t, err)
	total := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		switch name := fields[len(fields)-1]; name {
		case "read", "write", "writev", "readv", "ppoll", "poll", "sendto", "recvfrom", "setsockopt", "getsockopt", "fcntl",
			"close", "socket", "connect", "accept4", "epoll_ctl", "mmap", "munmap", "madvise", "fsync":
			n, err := strconv.Atoi(fields[3])
			require.NoError(t, err)
			total += n
		}
	}
	require.Greater(t, total, 4*requests, "each is read and written twice:\n%s", text)
	require.LessOrEqual(t, float64(total)/requests, most, "%s", text)
	t.Logf("%.2f system calls a request", float64(total)/requests)
}
