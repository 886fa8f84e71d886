package admin

import (
	"net"
	"net/http"
	"os"
	"strings"
)

// hostNames decides under which names the admin pages may be opened in a browser. To
// a browser, a site that points its own name at this address (DNS rebinding) has the
// same origin as the admin listener. But its name must be one that it owns in the
// public DNS. So IP addresses are allowed, and names that nobody can own there.
type hostNames struct{ own string }

func newHostNames() hostNames {
	name, _ := os.Hostname()
	return hostNames{own: strings.ToLower(name)}
}

// privateSuffixes are suffixes of names outside the public DNS (RFC 6761, RFC 6762,
// RFC 9476, ICANN's .internal), and of Kubernetes Services.
var privateSuffixes = []string{".localhost", ".local", ".internal", ".alt", ".home.arpa", ".test", ".svc"}

func (h hostNames) allows(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if net.ParseIP(host) != nil || !strings.Contains(host, ".") || host == h.own {
		return true
	}
	for _, suffix := range privateSuffixes {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// guard hides the pages from other sites' scripts.
func (h hostNames) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.allows(r.Host) {
			http.Error(w, "This page is not served under the name in the address bar, so that no other site can pose as it. "+
				"Open it by IP address, as localhost (kubectl port-forward, ssh -L) or by the machine's own name.",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseBrowsers keeps web pages from triggering an action, which is for hooks and
// commands. Every request that a page can make has one of the fields below, except a
// GET over plain HTTP with the referrer suppressed, and from that a page cannot
// remove the browser's User-Agent.
func refuseBrowsers(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site"} {
			if _, sent := r.Header[name]; sent {
				http.Error(w, "A browser may not do this.", http.StatusForbidden)
				return
			}
		}
		if strings.HasPrefix(r.UserAgent(), "Mozilla/") {
			http.Error(w, "A browser may not do this.", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}
