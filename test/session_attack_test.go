package test

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
)

// Whoever guesses ids as fast as they are answered, with a stolen ticket or good
// ones of their own, gets nowhere, and the owner of a session does not notice.
func TestSessionGuesses(t *testing.T) {
	t.Parallel()
	const guessers, each, uses = 16, 200, 100
	s, m := newEd25519Signer(t), newModel(t, nil)
	u := start(t, withSessions(m, s, 4)).ready()
	one := u.session(s.ticket(), `{}`)
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
					tk = s.ticket()
				}
				resp, err := client.Post("http://"+u.public+"/generate", "application/json", strings.NewReader(string(inSession(tk, quote(guess), `{}`))))
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
		require.Equal(t, 200, u.post("/generate", one.body(`{}`)).status)
	}
	load.Wait()
	require.EqualValues(t, guessers*each, refused.Load(), "others: %d", other.Load())
	require.Len(t, m.arrivals(), uses)
	require.EqualValues(t, uses, u.metric("usher_session_requests_total"))
	require.Equal(t, 200, u.post("/generate", s.ticket().nested(`{}`)).status, "what was guessed with is still good")
}

// A session that many use and many end at once ends once: one of those is told so,
// each request is answered or visibly cut, and what is to be called is, once.
func TestSessionEndsOnce(t *testing.T) {
	t.Parallel()
	const users, enders = 16, 8
	s, c := newSigner(t), newScene(t)
	u := start(t, withSessions(c.model, s, 4).with(env{"USHER_ROUTES": sceneRoutes})).ready()
	for range 5 {
		one := u.session(s.ticket(), `{"on_close_route":"/stop"}`)
		before := len(c.bodies("/stop"))
		var ended, unknown, wrong atomic.Int64
		var load sync.WaitGroup
		go1 := make(chan struct{})
		for range users {
			load.Go(func() {
				<-go1
				for {
					resp, err := http.Post("http://"+u.public+"/generate", "application/json", strings.NewReader(string(one.body(`{}`))))
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
				switch one.ask("end").status {
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
		require.Len(t, c.bodies("/stop"), before+1)
	}
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == 0 && u.metric("usher_sessions") == 0 }, patience, 1e6)
}
