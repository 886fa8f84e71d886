package sidecar

import (
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A panic is counted, wherever it happens, and ends only its request: one in the steps
// of a request is answered with 500, one before them closes the connection.
func TestPanicsAreCounted(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		spoil  func(*Sidecar)
		status int // 0: no answer
	}{
		"none":             {func(*Sidecar) {}, http.StatusUnprocessableEntity},
		"in the steps":     {func(s *Sidecar) { s.bodies.Budget = nil }, http.StatusInternalServerError},
		"before the steps": {func(s *Sidecar) { s.routes.Table = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveForFuzzing(t, "http://127.0.0.1:1", public, tt.spoil)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for n := 1; n <= 2; n++ { // it goes on
				resp, err := client.Post("http://"+s.PublicAddr().String()+"/generate", "", strings.NewReader(`{"inputs":"`+strings.Repeat("x", 20_000)+`"}`))
				if tt.status == 0 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, tt.status, resp.StatusCode)
				}
				want := 0
				if tt.status != http.StatusUnprocessableEntity {
					want = n
				}
				require.EqualValues(t, want, internalFaults(t, s))
			}
			<-s.calls.idle()
		})
	}
}

// A faulty sink panics once it is told of what it is named for.
type faulty struct {
	account.Sink
	at string
}

func (f *faulty) panics(at string) {
	if f.at == at {
		f.at = ""
		panic("a fault of ours")
	}
}

func (f *faulty) Ended(*account.Request)     { f.panics("end") }
func (f *faulty) Verified(time.Duration)     {}
func (f *faulty) Waited(_, _ time.Duration)  {}
func (f *faulty) FirstByte(*account.Request) { f.panics("first") }
func (f *faulty) Gap(time.Duration)          { f.panics("gap") }

// A panic while an answer is on its way, or while it is accounted for, ends the request
// and leaks nothing. The client sees that the answer is not whole.
func TestPanicsLeakNothing(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for _, kind := range []string{"text/plain", "text/event-stream"} {
		for at, whole := range map[string]bool{"end": true, "first": false, "gap": false} {
			t.Run(kind+" "+at, func(t *testing.T) {
				goOn := make(chan struct{}, 1)
				model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPost {
						return
					}
					w.Header().Set("Content-Type", kind)
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, "hello")
					_ = http.NewResponseController(w).Flush()
					<-goOn
					_, _ = io.WriteString(w, "world")
				}))
				defer model.Close()
				s := serveForFuzzing(t, model.URL, public, func(s *Sidecar) { s.book.Add(&faulty{at: at}) })
				defer close(goOn)
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				resp, err := client.Post("http://"+s.PublicAddr().String()+"/generate", "", strings.NewReader(fuzzTicket(key, 1)))
				require.NoError(t, err)
				goOn <- struct{}{}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				switch {
				case whole:
					require.NoError(t, err)
					require.Equal(t, "helloworld", string(text))
				case at == "first":
					require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
				default:
					require.Error(t, err)
					require.Equal(t, "hello", string(text))
				}
				<-s.calls.idle()
				require.Zero(t, s.buffer.Stats().InFlight)
				require.Eventually(t, func() bool { return internalFaults(t, s) == 1 }, time.Minute, time.Millisecond)
			})
		}
	}
}
