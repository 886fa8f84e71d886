package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

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
