package measure

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
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

// A request must not cost more system calls than it needs: reading from the client and
// from the model server, each with one attempt in vain; probing and writing to both;
// and its share of log lines and timers. The number does not depend on the machine's
// speed, except for the calls with which threads wait and wake, which are left out.
func TestSystemCallsOfARequest(t *testing.T) {
	t.Parallel()
	if rig.RaceEnabled {
		t.Skip("calls are counted of the program as it ships")
	}
	strace := rig.Need(t, "strace", "strace")
	const requests, most = 200, 9.0
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_HEALTH_INTERVAL": "1h", "USHER_REORDER_HOLD": "0"})).Ready()
	client := rig.Dial(t, u.Public)
	send := func(n int) {
		for range n {
			client.Request("POST", "/generate", s.Ticket().Flat(`"inputs":"hi"`))
			require.Equal(t, "200 OK\n{}", client.Response())
		}
	}
	send(20)

	total, text := traced(t, strace, u, func() { send(requests) })
	require.Greater(t, total, 4*requests, "each is read and written twice:\n%s", text)
	require.LessOrEqual(t, float64(total)/requests, most, "%s", text)
	t.Logf("%.2f system calls a request", float64(total)/requests)
}

// traced counts the system calls of a process while do runs, except those with which
// threads wait and wake, and those of the garbage collector, which comes by chance.
func traced(t *testing.T, strace string, u *rig.Usher, do func()) (total int, text string) {
	t.Helper()
	table := filepath.Join(t.TempDir(), "calls")
	tracer := exec.Command(strace, "-f", "-c", "-o", table, "-p", strconv.Itoa(u.Cmd.Process.Pid))
	said, err := tracer.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, tracer.Start())
	attached := make([]byte, 256)
	n, err := said.Read(attached)
	require.NoError(t, err)
	if !strings.Contains(string(attached[:n]), "attached") {
		_ = tracer.Wait()
		rig.Missing(t, fmt.Sprintf("strace may not attach to a process, which takes root or kernel.yama.ptrace_scope=0: %s", attached[:n]))
	}
	do()
	require.NoError(t, tracer.Process.Signal(syscall.SIGINT))
	go func() { _, _ = io.Copy(io.Discard, said) }()
	_ = tracer.Wait()

	list, err := os.ReadFile(table)
	require.NoError(t, err)
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		switch name := fields[len(fields)-1]; name {
		case "read", "write", "writev", "readv", "ppoll", "poll", "sendto", "recvfrom", "setsockopt", "getsockopt", "fcntl",
			"close", "socket", "connect", "accept4", "epoll_ctl", "fsync":
			n, err := strconv.Atoi(fields[3])
			require.NoError(t, err)
			total += n
		}
	}
	return total, string(list)
}

// A token of an open stream is read once and written once: nothing is read in vain,
// and it touches no timer, lock or thread.
func TestSystemCallsOfAToken(t *testing.T) {
	if rig.RaceEnabled {
		t.Skip("calls are counted of the program as it ships")
	}
	strace := rig.Need(t, "strace", "strace")
	t.Run("TCP", func(t *testing.T) {
		testSystemCallsOfAToken(t, strace, nil, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) })
	})
	t.Run("TLS", func(t *testing.T) {
		cert, key, _ := rig.CertificateFiles(t, t.TempDir())
		testSystemCallsOfAToken(t, strace, rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}, func(addr string) (net.Conn, error) {
			return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		})
	})
}

func testSystemCallsOfAToken(t *testing.T, strace string, more rig.Env, dial func(addr string) (net.Conn, error)) {
	const tokens, most = 300, 2.1
	s := rig.NewSigner(t)
	goOn, event := make(chan struct{}), "data: {\"token\":{\"text\":\" word\"}}\n\n"
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, event)
		w.(http.Flusher).Flush()
		<-goOn
		for range tokens {
			_, _ = io.WriteString(w, event)
			w.(http.Flusher).Flush()
			time.Sleep(2 * time.Millisecond)
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_HEALTH_INTERVAL": "1h", "USHER_REORDER_HOLD": "0"}).With(more)).Ready()
	c, err := dial(u.Public)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	body := s.Ticket().Flat(`"inputs":"hi"`)
	_, err = fmt.Fprintf(c, "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(rig.Patience)))
	in := bufio.NewReader(c)
	for line := ""; !strings.HasPrefix(line, "data:"); {
		line, err = in.ReadString('\n')
		require.NoError(t, err)
	}
	var took time.Duration
	total, text := traced(t, strace, u, func() {
		began := time.Now()
		close(goOn)
		rest, err := io.ReadAll(in)
		took = time.Since(began)
		require.NoError(t, err)
		require.Equal(t, tokens, strings.Count(string(rest), "data:"))
	})
	total -= int(took/(2*time.Second)) * 10 // certificate and key are read again every 2 s
	require.Greater(t, total, tokens/2, "several may come at once on a busy machine, but not all:\n%s", text)
	require.LessOrEqual(t, float64(total)/tokens, most, text)
	t.Logf("%.2f system calls a token", float64(total)/tokens)
}
