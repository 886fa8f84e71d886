package sidecar

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/status"
)

// Every outcome has a note for operators, and every note an outcome.
func TestOutcomesHaveNotes(t *testing.T) {
	known := outcomes()
	require.Len(t, outcomeNotes, len(known))
	for _, note := range outcomeNotes {
		require.Contains(t, known, note.Code)
		require.Contains(t, status.Classes, note.Class, note.Code)
		require.NotEmpty(t, note.Reason, note.Code)
		require.False(t, strings.HasSuffix(note.Reason, "."), note.Code)
		if note.Class != status.ClassServed {
			require.Regexp(t, `^[A-Z0-9].*\.$`, note.Advice, note.Code)
		}
	}
}

// The counters are read in the order in which the recorder knows the outcomes.
func TestOutcomesAreCountedUnderTheirNames(t *testing.T) {
	c := newRequestCounters([]string{"/generate"})
	for range 3 {
		c.add("/generate", "reqnum_stale")
	}
	c.add("/other", "reqnum_stale")
	c.add("/generate", outcomeOK)
	r, totals := newRecorder(), make([]uint64, len(outcomes()))
	r.Sample(time.Now(), status.Sample{Totals: totals})
	c.byOutcome(totals)
	r.Sample(time.Now(), status.Sample{Totals: totals})
	var s status.Snapshot
	r.Complete(&s)
	require.Len(t, s.Reasons, 1)
	require.Equal(t, "reqnum_stale", s.Reasons[0].Code)
	require.EqualValues(t, 4, s.Reasons[0].Minute)
}

func TestHostNames(t *testing.T) {
	h := hostNames{own: "worker-7.example.com"}
	for host, want := range map[string]bool{
		"127.0.0.1:9090": true, "[::1]:9090": true, "10.1.2.3": true, "[fe80::1]": true,
		"localhost:9090": true, "LOCALHOST": true, "usher": true, "pod.ns.svc:80": true, "x.cluster.local.": true,
		"worker-7.example.com:9090": true,
		"evil.example":              false, "worker-7.example.com.evil.example": false, "127.0.0.1.evil.example:9090": false, "a.b:80": false,
	} {
		require.Equal(t, want, h.allows(host), host)
	}
}

func TestGuards(t *testing.T) {
	h := newHostNames()
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, tt := range map[string]struct {
		method, host string
		header       map[string]string
		want         int
	}{
		"curl":                       {"POST", "10.0.0.1:9090", nil, 204},
		"a hook, by any name":        {"POST", "usher.example.com", nil, 204},
		"the page itself":            {"POST", "10.0.0.1:9090", map[string]string{"Origin": "http://10.0.0.1:9090", "Sec-Fetch-Site": "same-origin"}, 204},
		"another site's form":        {"POST", "10.0.0.1:9090", map[string]string{"Origin": "https://evil.example"}, 403},
		"another site, newer":        {"POST", "10.0.0.1:9090", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a sandboxed frame":          {"POST", "10.0.0.1:9090", map[string]string{"Origin": "null"}, 403},
		"a name made to point here":  {"POST", "evil.example:9090", map[string]string{"Origin": "http://evil.example:9090"}, 403},
		"reading":                    {"GET", "localhost:9090", nil, 204},
		"reading by such a name":     {"GET", "evil.example:9090", nil, 421},
		"reading by the own address": {"GET", "[2001:db8::1]:9090", nil, 204},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			r.Host = tt.host
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			guarded := h.guard(reached)
			if tt.method == http.MethodPost {
				guarded = h.guardForm(reached)
			}
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			require.Equal(t, tt.want, w.Code)
		})
	}
}
