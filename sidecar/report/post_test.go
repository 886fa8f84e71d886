package report

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheFirstAddressComesBack: after it failed once, it gets nothing for a minute, then
// all again.
func TestTheFirstAddressComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, down := time.Now(), true
		p := newPoster([]string{"https://a.example", "https://b.example"}, token, roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "a.example" && down {
				down = false
				return status(503)
			}
			require.Equal(t, time.Since(failed) < time.Minute, r.URL.Host == "b.example", "%s after %s", r.URL.Host, time.Since(failed))
			return status(200)
		}), func(Kind, Outcome, error) {})
		for range 70 {
			require.True(t, p.first(t.Context(), KindStatus, []byte(`{}`)))
			time.Sleep(time.Second)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTokenIsNotCarriedOn: the target of a redirect gets nothing, and nothing that is
// printed contains the token.
func TestTokenIsNotCarriedOn(t *testing.T) {
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	var tries []error
	for _, code := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, code))
		transport := &http.Transport{}
		p := newPoster([]string{server.URL}, token, transport, func(_ Kind, o Outcome, err error) {
			require.Equal(t, Refusal, o)
			tries = append(tries, err)
		})
		require.False(t, p.first(t.Context(), KindStatus, []byte(`{}`)))
		transport.CloseIdleConnections()
		server.Close()
	}
	require.Zero(t, followed.Load())
	require.Len(t, tries, 5)
	who := Identity{7, token, "https://w.example"}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q", who, who, who, who, who), token)
	require.NotContains(t, fmt.Sprintf("%+v", Options{Identity: who}), token)
}

// TestPausesAreSpread: a fleet whose reports fail does not retry in step.
func TestPausesAreSpread(t *testing.T) {
	var l lane
	longest := 0
	for range 1000 {
		l.failed()
		require.GreaterOrEqual(t, l.backoff, leastBackoff)
		require.LessOrEqual(t, l.backoff, mostBackoff)
		if l.backoff > mostBackoff-mostBackoff/100 {
			longest++
		}
	}
	require.Less(t, longest, 100)
}
