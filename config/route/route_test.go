package route

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

func signed(t testing.TB, texts ...string) []Route { return list(t, Parse, texts) }

func open(t testing.TB, texts ...string) []Route { return list(t, ParseOpen, texts) }

func list(t testing.TB, parse func(string) (Route, error), texts []string) (routes []Route) {
	t.Helper()
	for _, text := range texts {
		r, err := parse(text)
		require.NoError(t, err, text)
		routes = append(routes, r)
	}
	return routes
}

func TestParse(t *testing.T) {
	for text, want := range map[string]struct {
		route Route
		shown string
	}{
		"/generate":       {Route{"POST", "/generate", false}, "/generate"},
		"POST /generate/": {Route{"POST", "/generate/", false}, "/generate/"},
		"GET /v1/models":  {Route{"GET", "/v1/models", false}, "GET /v1/models"},
		"/v1/*":           {Route{"POST", "/v1/", true}, "/v1/*"},
		"DELETE /*":       {Route{"DELETE", "/", true}, "DELETE /*"},
		"PUT /a:b":        {Route{"PUT", "/a:b", false}, "PUT /a:b"},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want.route, got)
		require.Equal(t, want.shown, got.String())
		again, err := Parse(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again, "what is shown can be set")
	}
	for text, want := range map[string]string{
		"generate": "plain path", "": "plain path", "/a/../b": "plain path", "/a//b": "plain path", "/a b": "has a method",
		"/%61": "plain path", "/a?b": "plain path", "GET generate": "plain path", "GET  /a": "plain path", `/a\b`: "plain path",
		"get /a": "has a method", "TRACE /a": "has a method", "CONNECT /a": "has a method", "OPTIONS /a": "has a method",
		"/a*": "star", "/a/*/b": "star", "/a/**": "star", "/*/": "star",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	for text, methods := range map[string]int{"/v1/models": 2, "GET /a": 1, "HEAD /a/*": 1} {
		r, err := ParseOpen(text)
		require.NoError(t, err)
		require.Len(t, r.Methods(), methods)
		require.Equal(t, text, r.String())
	}
	for _, text := range []string{"POST /a", "PUT /a", "DELETE /a/*"} {
		_, err := ParseOpen(text)
		require.ErrorIs(t, err, errOpen, text)
	}
}

func TestOverlaps(t *testing.T) {
	for _, tt := range []struct {
		open, signed string
		want         bool
	}{
		{"/a", "/a", false}, // another method
		{"/a", "GET /a", true},
		{"/a", "HEAD /a", true},
		{"GET /a", "HEAD /a", false},
		{"/a/b", "GET /a/*", true},
		{"/a/*", "GET /a/b", true},
		{"/a/*", "GET /a/b/*", true},
		{"/a/b/*", "GET /a/*", true},
		{"/a", "GET /a/*", false},
		{"/a/", "GET /a/*", false},
		{"/ab", "GET /a/*", false},
		{"/*", "GET /a", true},
		{"/b/*", "GET /a/*", false},
	} {
		o, s := open(t, tt.open)[0], signed(t, tt.signed)[0]
		require.Equal(t, tt.want, o.Overlaps(s), "%s and %s", o, s)
		require.Equal(t, tt.want, s.Overlaps(o))
	}
}

func TestFind(t *testing.T) {
	table := NewTable(signed(t, "/v1/chat/completions", "/v1/*", "GET /v1/files/*", "DELETE /v1/files/*", "/v1/files/x"), open(t, "/v1/models", "GET /v1/open/*"))
	for _, tt := range []struct{ request, label, allowed string }{
		{"POST /v1/chat/completions", "/v1/chat/completions", "POST"},
		{"POST /v1/audio/transcriptions", "/v1/*", "POST"},
		{"GET /v1/files/a/content", "GET /v1/files/*", "GET, POST, DELETE"},
		{"DELETE /v1/files/a", "DELETE /v1/files/*", "GET, POST, DELETE"},
		{"POST /v1/files/x", "/v1/files/x", "GET, POST, DELETE"},
		{"GET /v1/models", "/v1/models", "GET, HEAD, POST"},
		{"HEAD /v1/models", "/v1/models", "GET, HEAD, POST"},
		{"GET /v1/open/a", "GET /v1/open/*", "GET, POST"},
		{"HEAD /v1/open/a", "", "GET, POST"},
		{"PUT /v1/chat/completions", "", "POST"},
		{"GET /v1", "", ""},
		{"POST /v1/", "", ""},
		{"POST /v2/a", "", ""},
		{"post /v1/a", "", "POST"},
		{"POST ", "", ""},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		entry := table.Find(method, []byte(path))
		if tt.label == "" {
			require.Nil(t, entry, tt.request)
		} else {
			require.NotNil(t, entry, tt.request)
			require.Equal(t, tt.label, entry.Label)
			require.Equal(t, strings.Contains(tt.label, "open") || tt.label == "/v1/models", entry.Open)
		}
		require.Equal(t, tt.allowed, table.Allowed([]byte(path)), tt.request)
		require.Equal(t, tt.allowed != "", table.Near([]byte(path)) != nil)
	}
	path := []byte("/v1/chat/completions")
	require.Zero(t, testing.AllocsPerRun(100, func() { table.Find("POST", path) }))
}

// The work of paths below a wildcard is known, and only for POST.
func TestAPI(t *testing.T) {
	table := NewTable(signed(t, "/v1/*", "GET /v1/*", "/generate", "PUT /v1/completions"), nil)
	for _, tt := range []struct {
		method, path string
		api          *dialect.API
	}{
		{http.MethodPost, "/v1/chat/completions", dialect.Of("/v1/chat/completions")},
		{http.MethodPost, "/generate", dialect.Of("/generate")},
		{http.MethodPost, "/v1/audio/speech", dialect.Of("/v1/audio/speech")},
	} {
		require.Same(t, tt.api, table.Find(tt.method, []byte(tt.path)).API(tt.method, []byte(tt.path)))
	}
	for _, method := range []string{"GET", "PUT"} {
		api := table.Find(method, []byte("/v1/completions")).API(method, []byte("/v1/completions"))
		require.Empty(t, api.Limits)
		require.Equal(t, dialect.OpenAI, api.Errors)
	}
}

// Paths that a server which normalises may take for others are not served by a wildcard;
// similar ones with only one spelling are.
func TestBelow(t *testing.T) {
	refused := strings.Fields(`
		. .. ./a a/. a/.. ../a a/../b a/./b .;x ..;x ..;x/a a/..; .%3b ..%3bx ..%3f ..%23
		/ // a/ a// /a a//b ;x a/;x %3bx
		%2e %2E %2e%2e .%2e %2e. a/%2e%2e/b %2e%2e%2f %2e/ a%2eb
		%2f %2F a%2fb ..%2fa a%2f..%2fb
		%5c %5C a%5cb ..%5ca a\b ..\a \
		%252e %252f %255c %25252e %2525252f %252e%252e%252f %252E a%252fb %25%32%65 %25%32%46
		%c0%ae %c0%ae%c0%ae%c0%af %c0%af %c1%9c %c1%1c %e0%80%ae %e0%80%af %f0%80%80%ae %f8%80%80%80%ae %fc%80%80%80%80%ae
		%ff %80 a%c3 %ed%a0%80 %c0%2e
		%00 a%00 a%00.json %0a %0d%0a %09 %7f %1f %2500
		% %2 %zz %u002e %u2215 %%32%65 %2%65 a% %2g
		%61 %41 %7a v%31 %2d %5f %7e c%68at/completions chat/%63ompletions
		audio/../chat/completions audio/%2e%2e/chat/completions audio%2f..%2fchat/completions audio//../chat/completions
	`)
	served := strings.Fields(`
		a a/b a.b .a ..a ... .... a..b a. a.. .well-known a;x=1 a;..;b a:b a@b a+b a,b a=b a&b a$b a(b) a'b a!b a*b ~a _a -a
		a%20b %20 %25 100%25 %3a a%3ab qwen%3A7b %c3%a9 %e2%82%ac %f0%9f%98%80 %2B %40 %5B%5D %22 %2520 audio/transcriptions chat/completions
		models/meta-llama/Llama-3.1-8B-Instruct files/file-abc123/content v1 a|b a^b
	`)
	table := NewTable([]Route{{Method: "POST", Path: "/v1/", Below: true}, {Method: "GET", Path: "/", Below: true}}, nil)
	for _, rest := range append(refused, "") {
		require.Nil(t, table.Find("POST", []byte("/v1/"+rest)), "/v1/%s", rest)
		require.Nil(t, table.Find("GET", []byte("/x/"+rest)), "/x/%s", rest)
	}
	for _, rest := range served {
		require.NotNil(t, table.Find("POST", []byte("/v1/"+rest)), "/v1/%s", rest)
		require.NotNil(t, table.Find("GET", []byte("/x/"+rest)), "/x/%s", rest)
	}
	for _, path := range strings.Fields("/v1 v1/a /V1/a /v%31/a /./v1/a //v1/a /v1//a /%76%31/a http:/v1/a") {
		require.Nil(t, table.Find("POST", []byte(path)), path)
	}
}
