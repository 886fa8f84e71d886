package status

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// The page is plain files: there is no build step, and nothing is loaded from
// elsewhere. uPlot (web/uplot, with its MIT licence) draws the charts.
//
//go:embed web
var web embed.FS

// policy lets the page load from and connect to its own origin, and nothing else: no
// inline script or style, no framing, no form.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page (as text to clients that do not ask for HTML), its assets,
// /status.json and /events.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	index := mustAsset("web/index.html")
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			index.serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		s := p.Snapshot()
		_ = WriteText(w, &s)
	})
	_ = fs.WalkDir(web, "web", func(name string, entry fs.DirEntry, _ error) error {
		if !entry.IsDir() && name != "web/index.html" {
			mux.HandleFunc("GET /assets/"+strings.TrimPrefix(name, "web/"), mustAsset(name).serve)
		}
		return nil
	})
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(p.Snapshot())
	})
	mux.HandleFunc("GET /events", p.serveEvents)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	})
}

// An asset is one embedded file.
type asset struct {
	name, etag, contentType string
	content                 []byte
}

// mustAsset panics if the binary was built without the file.
func mustAsset(name string) *asset {
	content, err := web.ReadFile(name)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(content)
	a := &asset{name: name, content: content, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	a.contentType = contentTypes[path.Ext(name)]
	if a.contentType == "" {
		a.contentType = "text/plain; charset=utf-8"
	}
	return a
}

// contentTypes is used instead of package mime, which depends on the system's tables.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// serve makes the browser revalidate its copy each time: the next version of Usher
// may have another.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
}
