package admin

import (
	"net"
	"net/http"
	"os"
	"strings"
)

// hostNames are the names under which the admin listener may be opened in a
// browser. A site whose own name is made to point at this address (DNS
// rebinding) is of one origin with the admin listener, in a browser's eyes; but
// it cannot choose its name freely: it has to be one that its owner has in the
// public DNS. So addresses are allowed, and names that nobody can own there.
type hostNames struct{ own string }

func newHostNames() hostNames {
	name, _ := os.Hostname()
	return hostNames{own: strings.ToLower(name)}
}

// privateSuffixes end names that are not in the public DNS (RFC 6761, RFC 6762,
// RFC 9476, ICANN's .internal), and those that Kubernetes gives Services.
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

// guard keeps what shows the state from other sites' scripts.
func (h hostNames) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.allows(r.Host) {
			http.Error(w, "This page is not served under the name in the address bar, so that no other site can pose as it. "+
				"Open it by an IP address, localhost (kubectl port-forward, ssh -L) or the machine's own name.",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseBrowsers keeps pages from acting: what changes something is for hooks and
// commands. Any of these fields stands in every request that a page can make
// but a GET over plain HTTP with its referrer suppressed, and a page cannot take
// the browser's name out of that one.
func refuseBrowsers(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site"} {
			if _, stands := r.Header[name]; stands {
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
