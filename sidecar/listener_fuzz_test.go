package sidecar

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/test/framing"
)

// FuzzListener feeds raw bytes to the public listener of a whole Sidecar. The
// words of the corpus in test/contract/testdata/framing stand for signed requests here
// too, so that the fuzzer gets past the signature. What holds for any bytes:
// nothing reaches the model server but what was signed, each ticket once;
// everything answered is well-formed HTTP, whole or visibly cut; nothing panics;
// and nothing is left in flight.
func FuzzListener(f *testing.F) {
	for _, seed := range rawSeeds(f) {
		f.Add(seed)
	}
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(f, err)
	var arrived atomic.Int64
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.RequestURI == "/health" {
			return
		}
		arrived.Add(1)
		path, _, _ := strings.Cut(r.RequestURI, "?")
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || !strings.Contains(fuzzRoutes, path) || err != nil || body[0] != '{' {
			f.Errorf("%s %s %q reached the model server (%v)", r.Method, r.RequestURI, body, err)
		}
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}))
	f.Cleanup(model.Close)
	s := serveForFuzzing(f, model.URL, key.Public().(ed25519.PublicKey))
	var signed int64
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		sent := framing.Expand(text, func() string {
			signed++
			return fuzzTicket(key, signed)
		})
		feed(t, s.PublicAddr().String(), strings.ReplaceAll(sent, framing.Pause, ""))
		select {
		case <-s.calls.idle():
		case <-time.After(20 * time.Second):
			require.FailNow(t, "something is left in flight")
		}
		require.LessOrEqual(t, arrived.Load(), signed)
		require.Zero(t, internalFaults(t, s))
	})
}

const fuzzRoutes = "/generate /v1/completions"

// rawSeeds are the cases of the corpus.
func rawSeeds(t testing.TB) (seeds []string) {
	file, err := os.ReadFile("../test/contract/testdata/framing/corpus.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(file)) {
		if parts := strings.SplitN(strings.TrimSpace(line), " | ", 3); len(parts) == 3 {
			text, err := strconv.Unquote(parts[2])
			require.NoError(t, err)
			seeds = append(seeds, text)
		}
	}
	require.NotEmpty(t, seeds)
	return seeds
}

func fuzzTicket(key ed25519.PrivateKey, reqnum int64) string {
	message := fmt.Sprintf("{\n    \"cost\": 1.0,\n    \"endpoint\": \"e\",\n    \"reqnum\": %d,\n    \"url\": \"http://a\"\n}", reqnum)
	return fmt.Sprintf(`{"cost":1.0,"endpoint":"e","reqnum":%d,"url":"http://a","signature":%q,"inputs":"a"}`,
		reqnum, base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(message))))
}

// serveForFuzzing runs a Sidecar until the test's end.
func serveForFuzzing(t testing.TB, modelURL string, key ed25519.PublicKey, changes ...func(*Sidecar)) *Sidecar {
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	cfg, err := config.Load([]string{
		"USHER_ENDPOINT=e", "USHER_WORKER_URL=http://a", "USHER_UPSTREAM_URL=" + modelURL,
		"USHER_PUBLIC_KEY=" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"USHER_LISTEN_ADDR=127.0.0.1:0", "USHER_ADMIN_ADDR=127.0.0.1:0", "USHER_DRAIN_DELAY=0s",
		"USHER_REORDER_HOLD=0", "USHER_MAX_BODY_BYTES=100000", "USHER_CORS_ORIGINS=https://a",
		"USHER_ROUTES=" + strings.ReplaceAll(fuzzRoutes, " ", ","),
	})
	require.NoError(t, err)
	s, err := New(cfg, zap.NewNop(), Version{Number: "fuzz"})
	require.NoError(t, err)
	for _, change := range changes {
		change(s)
	}
	require.NoError(t, s.Listen())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return s
}

// feed sends bytes, and their end, and reads what is answered.
func feed(t *testing.T, address, sent string) {
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	tcp := c.(*net.TCPConn)
	defer func() {
		_ = tcp.SetLinger(0) // leaves no port in TIME_WAIT
		_ = tcp.Close()
	}()
	require.NoError(t, tcp.SetDeadline(time.Now().Add(20*time.Second)))
	_, _ = io.WriteString(tcp, sent) // it may be closed before all is sent
	_ = tcp.CloseWrite()
	in := bufio.NewReader(tcp)
	head := strings.HasPrefix(strings.TrimLeft(sent, "\r\n"), "HEAD ")
	for {
		if _, err := in.Peek(1); err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
		if head || strings.Contains(sent, "\nHEAD ") {
			// Which of the answers has no body cannot be told from here.
			_, _ = io.Copy(io.Discard, in)
			return
		}
		resp, err := http.ReadResponse(in, nil)
		if wasCut(err) {
			return
		}
		require.NoError(t, err)
		if _, err = io.Copy(io.Discard, resp.Body); wasCut(err) {
			return
		}
		require.NoError(t, err)
		if resp.StatusCode >= 400 {
			health := resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Content-Type") != "application/json"
			require.True(t, health || resp.Header.Get(headerRefusal) != "", resp.Status)
		}
	}
}

// wasCut reports whether an answer was visibly cut.
func wasCut(err error) bool {
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) && !network.Timeout()
}

// internalFaults is how many panics were recovered.
func internalFaults(t *testing.T, s *Sidecar) float64 {
	families, err := s.metrics.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "usher_panics_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.FailNow(t, "no such counter")
	return 0
}
