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
	for host, want := range map[string]int{
		"localhost:9090": 204, "[2001:db8::1]:9090": 204,
		"evil.example:9090": 421, // a name made to point here
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.guard(http.HandlerFunc(reached)).ServeHTTP(w, r)
		require.Equal(t, want, w.Code, host)
	}
}

func reached(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestBrowsersAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		header map[string]string
		want   int
	}{
		"curl":                          {map[string]string{"User-Agent": "curl/8.5.0", "Accept": "*/*"}, 204},
		"a kubelet":                     {map[string]string{"User-Agent": "kube-lifecycle/1.34", "Accept": "*/*"}, 204},
		"nothing":                       {nil, 204},
		"the page itself":               {map[string]string{"Origin": "http://10.0.0.1:9090", "Sec-Fetch-Site": "same-origin"}, 403},
		"another site's form":           {map[string]string{"Origin": "https://evil.example"}, 403},
		"a sandboxed frame":             {map[string]string{"Origin": "null"}, 403},
		"an empty origin":               {map[string]string{"Origin": ""}, 403},
		"a link":                        {map[string]string{"Referer": "https://evil.example/"}, 403},
		"an address bar":                {map[string]string{"Sec-Fetch-Site": "none"}, 403},
		"an image without its referrer": {map[string]string{"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			refuseBrowsers(reached)(w, r)
			require.Equal(t, tt.want, w.Code)
		})
	}
}
