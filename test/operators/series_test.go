package operators

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// No client can create a series: requests with random paths, endpoints, methods and
// user agents, 10,000 of them in a full run, leave the number of series as it was.
func TestSeriesAreClosed(t *testing.T) {
	t.Parallel()
	s := rig.NewEd25519Signer(t) // signs faster
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	before := series(u)
	clients, each := 8, full.Or(50, 1250)
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			c, err := net.Dial("tcp", u.Public)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			in := bufio.NewReader(c)
			word := func() string { return fmt.Sprintf("%x", random.Uint64()) }
			for range each {
				body := string(s.Numbered(random.Int64()).With("endpoint", rig.Quote(word())).Flat(`"model":"` + word() + `"`))
				path := []string{"/" + word(), "/v1/" + word(), "/generate", "/generate?" + word() + "=" + word()}[random.IntN(4)]
				method := []string{"POST", "POST", "PUT", "DELETE"}[random.IntN(4)]
				_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nTraceparent: 00-%016x%016x-%016x-01\r\nContent-Length: %d\r\n\r\n%s",
					method, path, word(), word(), random.Uint64(), random.Uint64(), random.Uint64(), len(body), body)
				if err == nil {
					var resp *http.Response
					if resp, err = http.ReadResponse(in, nil); err == nil {
						_ = resp.Body.Close()
						if resp.Close { // a refusal by the head alone, with its body still to come
							_ = c.Close()
							if c, err = net.Dial("tcp", u.Public); err == nil {
								in = bufio.NewReader(c)
							}
						}
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	require.EqualValues(t, clients*each, sum(u, "usher_requests_total{"))
	require.Positive(t, u.Metric(`usher_requests_total{outcome="endpoint_mismatch",route="/generate"}`))
	require.Equal(t, before, series(u))
}

// The state that operators look for first has metrics of its own.
func TestGauges(t *testing.T) {
	t.Parallel()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{"USHER_MAX_CONCURRENCY": "7"})).Ready()
	for name, want := range map[string]float64{
		"usher_in_flight": 0, "usher_waiting": 0, "usher_slots": 7, "usher_upstream_up": 1, "usher_learned_hold_seconds": 0,
	} {
		require.Equal(t, want, u.Metric(name), name)
	}
	age := u.Metric("usher_public_key_age_seconds")
	require.Positive(t, age)
	require.Eventually(t, func() bool { return u.Metric("usher_public_key_age_seconds") > age }, rig.Patience, 5*time.Millisecond)

	settings := rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_URL": "http://127.0.0.1:1/pubkey/"})
	require.Zero(t, rig.Start(t, settings).Metric("usher_public_key_age_seconds"), "there must be no age without a key")
}

// Scrapers that read OpenMetrics get exemplars of requests that belonged to a trace.
func TestExemplars(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	open := func() string {
		req, err := http.NewRequest("GET", "http://"+u.Admin+"/metrics", nil)
		require.NoError(t, err)
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var text strings.Builder
		_, err = bufio.NewReader(resp.Body).WriteTo(&text)
		require.NoError(t, err)
		return text.String()
	}
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
	require.NotContains(t, open(), "trace_id")
	got := u.Do("POST", "/generate", s.Ticket().Flat(""), http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
	require.Equal(t, 200, got.Status)
	for _, name := range []string{"usher_request_duration_seconds", "usher_time_to_first_byte_seconds", "gen_ai_server_request_duration_seconds"} {
		exemplar := regexp.MustCompile(name + `_bucket\{[^}]*\} \d+ # \{trace_id="` + trace + `"\}`)
		require.Eventually(t, func() bool { return exemplar.MatchString(open()) }, rig.Patience, time.Millisecond, name) // counted after the answer
	}
}

// series returns the names and labels of all samples.
func series(u *rig.Usher) []string {
	_, text := u.Get("/metrics")
	var list []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			list = append(list, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return list
}

// sum adds up all samples whose line begins with a prefix.
func sum(u *rig.Usher, prefix string) (total float64) {
	_, text := u.Get("/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			var v float64
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v)
			require.NoError(u.T, err)
			total += v
		}
	}
	return total
}
