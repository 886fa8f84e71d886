package rig

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// BeyondText is the part of a model server that does not deal in text: it lists one
// model, and answers how long an uploaded file is.
func BeyondText(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/models":
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"toy","object":"model"}]}`)
	case "POST /v1/audio/transcriptions":
		file, _, err := r.FormFile("file")
		if err != nil || r.FormValue("model") != "toy" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		n, _ := io.Copy(io.Discard, file)
		_, _ = fmt.Fprintf(w, `{"text":"%d bytes of speech"}`, n)
	default:
		w.Header().Del("Content-Type")
		return false
	}
	return true
}

// An ExamplePage serves the page of an example, the scripts it imports, and tickets,
// which it gets from the autoscaler.
type ExamplePage struct {
	*httptest.Server
	Autoscaler, Folder string
	text               string
}

func NewExamplePage(t *testing.T) *ExamplePage {
	p := &ExamplePage{}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *ExamplePage) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, p.text)
	case "/ticket":
		resp, err := http.Post(p.Autoscaler+"/route/", "application/json", strings.NewReader(`{"endpoint":"my-llama","api_key":"toy-key","cost":32}`))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(w, resp.Body)
	default:
		http.ServeFile(w, r, filepath.Join(p.Folder, filepath.Base(r.URL.Path)))
	}
}

// Open shows the page in a browser and returns the text it ends up with.
func (p *ExamplePage) Open(t *testing.T, text string) string {
	t.Helper()
	p.text = text
	b := Browse(t, p.URL)
	b.Until(`document.querySelector("#said").textContent`)
	said, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](`document.querySelector("#said").textContent`))
	require.NoError(t, err)
	return said
}
