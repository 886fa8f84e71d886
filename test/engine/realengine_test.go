package engine

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/engine/gguf"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/rig"
)

// A realEngine is llama.cpp in a process of its own, behind the HTTP server in
// testdata/engine, with a model of random weights.
type realEngine struct {
	t     testing.TB
	url   string
	model string
	cmd   *exec.Cmd
	done  chan struct{} // closed when it said its last
	ended atomic.Bool   // by kill

	mu       sync.Mutex
	accounts []engineAccount
}

// An engineAccount is what the engine says of a request that it has done with.
type engineAccount struct {
	Request, Route string
	Tokens         int
	Stopped        bool    // its connection closed before its end
	At             int64   // when the engine had no more of it, in ms since 1970
	After          float64 // how long that was after its connection closed, in ms
}

func newRealEngine(t testing.TB) *realEngine {
	t.Helper()
	full.Only(t)
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the prebuilt llama.cpp of testdata/engine is Linux' on amd64")
	}
	rig.NeedFile(t, "../testdata/engine/node_modules", "npm ci --omit=optional --ignore-scripts --prefix test/testdata/engine")
	e := &realEngine{t: t, model: filepath.Join(t.TempDir(), "random.gguf")}
	if a, ok := t.(*attempt); ok {
		a.engine = e
	}
	file, err := os.Create(e.model)
	require.NoError(t, err)
	require.NoError(t, gguf.Write(file, 2))
	require.NoError(t, file.Close())
	e.start(loopback.Host(), "0")
	t.Cleanup(func() { e.kill() })
	return e
}

// start starts the process; it takes a moment more until it has its model.
func (e *realEngine) start(host, port string) {
	e.t.Helper()
	e.cmd = exec.Command(rig.Need(e.t, "node", "nodejs"), "../testdata/engine/server.mjs", e.model, host, port)
	_, err := e.cmd.StdinPipe() // it ends when this does
	require.NoError(e.t, err)
	stdout, err := e.cmd.StdoutPipe()
	require.NoError(e.t, err)
	require.NoError(e.t, e.cmd.Start())
	e.done = make(chan struct{})
	e.ended.Store(false)
	lines := bufio.NewScanner(stdout)
	if lines.Scan() {
		e.url = lines.Text()
	}
	go e.read(lines)
	require.NotEmpty(e.t, e.url, "the engine did not start")
}

// restart starts it again where it was.
func (e *realEngine) restart() {
	e.t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(e.url, "http://"))
	require.NoError(e.t, err)
	e.url = ""
	e.start(host, port)
}

func (e *realEngine) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var a engineAccount
		if json.Unmarshal(lines.Bytes(), &a) == nil {
			e.mu.Lock()
			e.accounts = append(e.accounts, a)
			e.mu.Unlock()
		}
	}
	_ = e.cmd.Wait()
	close(e.done)
}

func (e *realEngine) kill() {
	e.ended.Store(true)
	_ = e.cmd.Process.Kill()
	<-e.done
}

// crashed reports whether the process ended by itself.
func (e *realEngine) crashed() bool {
	select {
	case <-e.done:
		return !e.ended.Load()
	case <-time.After(time.Second): // it may be about to
		return false
	}
}

// wait returns what the engine said when it has said it of so many requests; none
// came to it twice.
func (e *realEngine) wait(t testing.TB, requests int) map[string]engineAccount {
	t.Helper()
	var said []engineAccount
	require.Eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		said = slices.Clone(e.accounts)
		return len(said) >= requests
	}, rig.Patience, 5*time.Millisecond, "the engine has not done with %d requests", requests)
	byRequest := map[string]engineAccount{}
	for _, a := range said {
		byRequest[a.Request] = a
	}
	require.Len(t, byRequest, len(said), "a request reached the engine twice")
	return byRequest
}
