package session

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Guessing IDs as fast as they are answered, with a stolen ticket or good ones of
// one's own, leads nowhere and does not disturb the owner of a session.
func TestSessionGuesses(t *testing.T) {
	t.Parallel()
	const guessers, each, uses = 16, 200, 100
	s, m := rig.NewEd25519Signer(t), rig.NewModel(t, nil)
	u := rig.Start(t, withSessions(m, s, 4)).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: guessers}}
	t.Cleanup(client.CloseIdleConnections)
	var refused, other atomic.Int64
	var load sync.WaitGroup
	for n := range guessers {
		load.Go(func() {
			for range each {
				var random [18]byte
				_, _ = rand.Read(random[:])
				guess, tk := base64.RawURLEncoding.EncodeToString(random[:]), one.ticket
				if n%2 == 1 {
					tk = s.Ticket()
				}
				resp, err := client.Post("http://"+u.Public+"/generate", "application/json", strings.NewReader(string(inSession(tk, rig.Quote(guess), `{}`))))
				if err != nil {
					other.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == 410 && resp.Header.Get("X-Usher-Refusal") == "session_unknown" {
					refused.Add(1)
				} else {
					other.Add(1)
				}
			}
		})
	}
	for range uses {
		require.Equal(t, 200, u.Post("/generate", one.body(`{}`)).Status)
	}
	load.Wait()
	require.EqualValues(t, guessers*each, refused.Load(), "others: %d", other.Load())
	require.Len(t, m.Arrivals(), uses)
	require.EqualValues(t, uses, u.Metric("usher_session_requests_total"))
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Nested(`{}`)).Status, "good tickets must still pass after the guessing")
}

// A session that many use and many end at the same time ends once: one caller is told
// so, every request is answered or visibly cut, and the closing call is made once.
func TestSessionEndsOnce(t *testing.T) {
	t.Parallel()
	const users, enders = 16, 8
	s, c := rig.NewSigner(t), newScene(t)
	u := rig.Start(t, withSessions(c.Model, s, 4).With(rig.Env{"USHER_ROUTES": sceneRoutes})).Ready()
	for range 5 {
		one := sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/stop"}`)
		before := len(bodies(c.Model, "/stop"))
		var ended, unknown, wrong atomic.Int64
		var load sync.WaitGroup
		go1 := make(chan struct{})
		for range users {
			load.Go(func() {
				<-go1
				for {
					resp, err := http.Post("http://"+u.Public+"/generate", "application/json", strings.NewReader(string(one.body(`{}`))))
					if err != nil {
						continue // cut
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					switch resp.StatusCode {
					case 200:
					case 410:
						return
					default:
						wrong.Add(1)
						return
					}
				}
			})
		}
		for range enders {
			load.Go(func() {
				<-go1
				switch one.ask("end").Status {
				case 200:
					ended.Add(1)
				case 410:
					unknown.Add(1)
				}
			})
		}
		close(go1)
		load.Wait()
		require.EqualValues(t, 1, ended.Load())
		require.EqualValues(t, enders-1, unknown.Load())
		require.Zero(t, wrong.Load())
		require.Len(t, bodies(c.Model, "/stop"), before+1)
	}
	require.Eventually(t, func() bool { return u.Metric("usher_in_flight") == 0 && u.Metric("usher_sessions") == 0 }, rig.Patience, 1e6)
}
