package test

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inHead is the field of a request whose ticket stands in the head.
func (t ticket) inHead() http.Header {
	return http.Header{"Authorization": {"SignedRoute " + t.token()}}
}

// A ticket in the head leaves the body alone, whatever it is.
func TestTicketInTheHead(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{
		"USHER_ROUTES": "/generate,/v1/audio/*,GET /v1/files/*,DELETE /v1/files/*,PUT /v1/files/*", "USHER_CORS_ORIGINS": "*",
	})).ready()
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	file, err := parts.CreateFormFile("file", "speech.wav")
	require.NoError(t, err)
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	_, _ = file.Write(noise)
	require.NoError(t, parts.Close())
	other := s.numbered(999_999)
	for i, tt := range []struct{ method, path, contentType, body string }{
		{"POST", "/v1/audio/transcriptions", parts.FormDataContentType(), form.String()},
		{"POST", "/v1/audio/raw", "audio/wav", string(noise)},
		{"POST", "/v1/audio/none", "", ""},
		{"POST", "/generate", "application/json", ` {"inputs" : "x", "n":1e2} `},
		{"POST", "/generate", "application/json", string(other.nested(`{"inputs":"x"}`))}, // not searched for a ticket
		{"POST", "/generate", "application/json", string(other.flat(`"inputs":"x"`))},
		{"POST", "/generate", "text/plain", "not JSON: observed, and let pass"},
		{"POST", "/generate", "application/json", ""},
		{"GET", "/v1/files/a", "", ""},
		{"DELETE", "/v1/files/a", "", ""},
		{"PUT", "/v1/files/a", "text/plain", "x"},
	} {
		ticket := s.ticket()
		token := ticket.token()
		if i%2 == 1 {
			token += strings.Repeat("=", -len(token)&3)
		}
		header := http.Header{"Authorization": {[]string{"SignedRoute ", "Bearer sr.", "signedroute  ", "bearer sr."}[i%4] + token}}
		if tt.contentType != "" {
			header["Content-Type"] = []string{tt.contentType}
		}
		got := u.do(tt.method, tt.path, []byte(tt.body), header)
		require.Equal(t, 200, got.status, "%s %s: %s", tt.method, tt.path, got.body)
		seen := m.arrivals()
		require.Len(t, seen, i+1)
		require.Equal(t, tt.method, seen[i].method)
		require.Equal(t, tt.path, seen[i].target)
		require.True(t, tt.body == seen[i].body, "%s %s: the body has changed", tt.method, tt.path)
		require.Equal(t, tt.contentType, seen[i].header.Get("Content-Type"))
		require.Empty(t, seen[i].header.Get("Authorization"))
		require.Equal(t, tt.method == "POST" || tt.method == "PUT", seen[i].header.Get("Content-Length") != "", "of a %s", tt.method)
		again := u.do(tt.method, tt.path, []byte(tt.body), header)
		require.Equal(t, 409, again.status, "a ticket is good once")
		require.Equal(t, "reqnum_replayed", again.code())
		for _, line := range u.log() {
			require.NotContains(t, line, token)
		}
	}
	// The ticket that stood in a body beside one in the head was not used.
	require.Equal(t, 200, u.post("/generate", other.flat("")).status)
	// Any other Authorization is a customer's key, and no fault.
	for _, key := range []string{"Bearer sk-1", "Basic abc", "sr.abc", "Bearer SR.abc", "SignedRoutes x"} {
		require.Equal(t, 200, u.do("POST", "/generate", s.numbered(1_000_000+s.next.Add(1)).flat(""), http.Header{"Authorization": {key}}).status, key)
	}
}

// What stands in the head as a ticket is held to the rules of one in a body, in the
// same order, and wins over one there.
func TestFaultsOfATicketInTheHead(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{
		"USHER_MAX_BODY_BYTES": "2000", "USHER_REPLAY_WINDOW": "100", "USHER_COST_POLICY": "enforce",
		"USHER_ROUTES": "/generate,/v1/completions,/v1/audio/*,GET /v1/files/*",
	})).ready()
	spent := s.numbered(1000)
	require.Equal(t, 200, u.do("POST", "/v1/audio/x", []byte("x"), spent.inHead()).status)
	raw := func(value string) http.Header { return http.Header{"Authorization": {value}} }
	encoded := func(object string) string { return base64.RawURLEncoding.EncodeToString([]byte(object)) }
	with := func(h http.Header, name, value string) http.Header {
		h = h.Clone()
		h.Add(name, value)
		return h
	}
	large := strings.Repeat("x", 3000)
	const dear = `{"prompt":"x","max_tokens":9999}`
	padded := "{" + s.numbered(1001).members() + strings.Repeat(" ", 6200) + "}"
	tests := []struct {
		name, path, body string
		header           http.Header
		status           int
		code             string
	}{
		{"404 first", "/nowhere", large, raw("SignedRoute !"), 404, "route_unknown"},
		{"415 where the work must be read", "/v1/completions", large, with(raw("SignedRoute !"), "Content-Encoding", "gzip"), 415, "unsupported_encoding"},
		{"413 before 400", "/v1/audio/x", large, with(raw("SignedRoute !"), "Content-Encoding", "gzip"), 413, "body_too_large"},
		{"no encoding is a fault elsewhere", "/v1/audio/x", "x", with(raw("SignedRoute !"), "Content-Encoding", "gzip"), 400, "invalid_json"},
		{"not base64url", "/v1/audio/x", "x", raw("Bearer sr.a+b/"), 400, "invalid_json"},
		{"empty", "/v1/audio/x", "x", raw("SignedRoute"), 400, "invalid_json"},
		{"empty key", "/v1/audio/x", "x", raw("Bearer sr."), 400, "invalid_json"},
		{"no object", "/v1/audio/x", "x", raw("SignedRoute " + encoded("[1]")), 400, "invalid_json"},
		{"too long", "/v1/audio/x", "x", raw("SignedRoute " + encoded(padded)), 400, "invalid_json"},
		{"also beside one in the body", "/generate", string(s.numbered(1001).flat(`"inputs":"x"`)), raw("SignedRoute " + encoded("x")), 400, "invalid_json"},
		{"two of them", "/v1/audio/x", "x", with(s.numbered(1001).inHead(), "Authorization", "SignedRoute "+s.numbered(1002).token()), 400, "invalid_json"},
		{"twice the same", "/v1/audio/x", "x", with(s.numbered(1001).inHead(), "Authorization", "SignedRoute "+s.numbered(1001).token()), 400, "invalid_json"},
		{"a member twice", "/v1/audio/x", "x", raw("SignedRoute " + encoded(`{"cost":1,`+s.numbered(1001).members()+`}`)), 400, "invalid_json"},
		{"members missing", "/v1/audio/x", "x", raw("SignedRoute " + encoded(`{"cost":-1}`)), 422, "invalid_ticket"},
		{"none, where the body holds none", "GET /v1/files/x", "", raw("Bearer customer"), 422, "invalid_ticket"},
		{"none, and a body that may not hold it", "GET /v1/files/x", string(s.numbered(1001).flat("")), nil, 422, "invalid_ticket"},
		{"endpoint", "/v1/audio/x", "x", s.numbered(1001).with("endpoint", `"b"`).inHead(), 403, "endpoint_mismatch"},
		{"url", "/v1/audio/x", "x", s.numbered(1001).with("url", `"http://b"`).inHead(), 403, "url_mismatch"},
		{"replay before signature", "/v1/audio/x", "x", other.numbered(1000).inHead(), 409, "reqnum_replayed"},
		{"stale", "/v1/audio/x", "x", other.numbered(1).inHead(), 409, "reqnum_stale"},
		{"signature before the body", "/v1/completions", "not JSON", other.numbered(1001).inHead(), 401, "bad_signature"},
		{"a body that is no object", "/v1/completions", "[]", s.numbered(1001).inHead(), 400, "invalid_json"},
		{"no body", "/v1/completions", "", s.numbered(1001).inHead(), 400, "invalid_json"},
		{"a limit twice", "/v1/completions", `{"max_tokens":1,"max_tokens":2}`, s.numbered(1001).inHead(), 400, "invalid_json"},
		{"a limit of the wrong type", "/v1/completions", `{"max_tokens":"x"}`, s.numbered(1001).inHead(), 422, "invalid_ticket"},
		{"cost", "/v1/completions", dear, s.numbered(1001).inHead(), 403, "cost_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, ok := strings.Cut(tt.path, " ")
			if !ok {
				method, path = "POST", tt.path
			}
			got := u.do(method, path, []byte(tt.body), tt.header)
			require.Equal(t, tt.status, got.status, got.body)
			require.Equal(t, tt.code, got.code(), got.body)
			require.Equal(t, tt.code, got.header.Get("X-Usher-Refusal"))
			require.NotContains(t, got.body, "undefined")
		})
	}
	require.Len(t, m.arrivals(), 1)
	// None of it has spent the ticket.
	got := u.do("POST", "/v1/completions", []byte(` {"prompt" : "x"}`), s.numbered(1001).inHead())
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, ` {"max_tokens":256,"prompt" : "x"}`, m.arrivals()[1].body)
	// As long as may be: 8,192 bytes of base64url.
	members := "{" + s.numbered(1002).members()
	longest := members + strings.Repeat(" ", 8192*3/4-len(members)-1) + "}"
	require.Len(t, encoded(longest), 8192)
	require.Equal(t, 200, u.do("POST", "/v1/audio/x", []byte("x"), raw("Bearer sr."+encoded(longest))).status)
	// Far longer is too much for any head, as is as much of another field.
	require.Equal(t, 431, u.do("POST", "/v1/audio/x", []byte("x"), raw("Bearer sr."+strings.Repeat("e", 17_000))).status)
	require.Equal(t, 431, u.do("POST", "/v1/audio/x", []byte("x"), with(s.numbered(1003).inHead(), "X", strings.Repeat("e", 8200))).status)
}

// Under observe the work beside a ticket in the head is counted, and nothing refused.
func TestWorkBesideATicketInTheHead(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	for i, tt := range []struct {
		body     string
		exceeded float64
	}{
		{`{"max_tokens":256,"prompt":"x"}`, 0},
		{`{"max_tokens":257,"prompt":"x"}`, 1},
		{`{"max_tokens":-1}`, 2},
		{`{"max_tokens":1,"max_tokens":9999}`, 2}, // not one object that is read in one way
		{`--form`, 2},
		{`{"prompt":"x"}`, 2},
	} {
		got := u.do("POST", "/v1/completions", []byte(tt.body), s.ticket().inHead())
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, tt.body, m.arrivals()[i].body)
		require.Equal(t, tt.exceeded, u.metric("usher_cost_exceeded_total"), tt.body)
	}
	encoded := s.ticket().inHead()
	encoded["Content-Encoding"] = []string{"gzip"}
	require.Equal(t, 200, u.do("POST", "/v1/completions", []byte("zipped"), encoded).status)
	require.Equal(t, "gzip", m.arrivals()[6].header.Get("Content-Encoding"))
}
