package contract

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// inHead returns the header of a request that carries its ticket in the head.
func inHead(t rig.Ticket) http.Header {
	return http.Header{"Authorization": {"SignedRoute " + t.Token()}}
}

// A ticket in the head leaves the body alone, whatever the body is.
func TestTicketInTheHead(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_ROUTES": "/generate,/v1/audio/*,GET /v1/files/*,DELETE /v1/files/*,PUT /v1/files/*", "USHER_CORS_ORIGINS": "*",
	})).Ready()
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
	other := s.Numbered(999_999)
	for i, tt := range []struct{ method, path, contentType, body string }{
		{"POST", "/v1/audio/transcriptions", parts.FormDataContentType(), form.String()},
		{"POST", "/v1/audio/raw", "audio/wav", string(noise)},
		{"POST", "/v1/audio/none", "", ""},
		{"POST", "/generate", "application/json", ` {"inputs" : "x", "n":1e2} `},
		{"POST", "/generate", "application/json", string(other.Nested(`{"inputs":"x"}`))}, // not searched for a ticket
		{"POST", "/generate", "application/json", string(other.Flat(`"inputs":"x"`))},
		{"POST", "/generate", "text/plain", "not JSON: observed, and let pass"},
		{"POST", "/generate", "application/json", ""},
		{"GET", "/v1/files/a", "", ""},
		{"DELETE", "/v1/files/a", "", ""},
		{"PUT", "/v1/files/a", "text/plain", "x"},
	} {
		ticket := s.Ticket()
		token := ticket.Token()
		if i%2 == 1 {
			token += strings.Repeat("=", -len(token)&3)
		}
		header := http.Header{"Authorization": {[]string{"SignedRoute ", "Bearer sr.", "signedroute  ", "bearer sr."}[i%4] + token}}
		if tt.contentType != "" {
			header["Content-Type"] = []string{tt.contentType}
		}
		got := u.Do(tt.method, tt.path, []byte(tt.body), header)
		require.Equal(t, 200, got.Status, "%s %s: %s", tt.method, tt.path, got.Body)
		seen := m.Arrivals()
		require.Len(t, seen, i+1)
		require.Equal(t, tt.method, seen[i].Method)
		require.Equal(t, tt.path, seen[i].Target)
		require.True(t, tt.body == seen[i].Body, "%s %s: the body has changed", tt.method, tt.path)
		require.Equal(t, tt.contentType, seen[i].Header.Get("Content-Type"))
		require.Empty(t, seen[i].Header.Get("Authorization"))
		require.Equal(t, tt.method == "POST" || tt.method == "PUT", seen[i].Header.Get("Content-Length") != "", "of a %s", tt.method)
		again := u.Do(tt.method, tt.path, []byte(tt.body), header)
		require.Equal(t, 409, again.Status, "a ticket must be good only once")
		require.Equal(t, "reqnum_replayed", again.Code())
		for _, line := range u.Log() {
			require.NotContains(t, line, token)
		}
	}
	// A ticket in the body is not spent when there is another in the head.
	require.Equal(t, 200, u.Post("/generate", other.Flat("")).Status)
	// Any other Authorization is a customer's key and not a fault.
	for _, key := range []string{"Bearer sk-1", "Basic abc", "sr.abc", "Bearer SR.abc", "SignedRoutes x"} {
		require.Equal(t, 200, u.Do("POST", "/generate", s.Numbered(1_000_000+s.Next.Add(1)).Flat(""), http.Header{"Authorization": {key}}).Status, key)
	}
}

// A ticket in the head is checked by the same rules, in the same order, as one in a
// body, and takes precedence over one there.
func TestFaultsOfATicketInTheHead(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_MAX_BODY_BYTES": "2000", "USHER_REPLAY_WINDOW": "100", "USHER_COST_POLICY": "enforce",
		"USHER_ROUTES": "/generate,/v1/completions,/v1/audio/*,GET /v1/files/*",
	})).Ready()
	spent := s.Numbered(1000)
	require.Equal(t, 200, u.Do("POST", "/v1/audio/x", []byte("x"), inHead(spent)).Status)
	raw := func(value string) http.Header { return http.Header{"Authorization": {value}} }
	encoded := func(object string) string { return base64.RawURLEncoding.EncodeToString([]byte(object)) }
	with := func(h http.Header, name, value string) http.Header {
		h = h.Clone()
		h.Add(name, value)
		return h
	}
	large := strings.Repeat("x", 3000)
	const dear = `{"prompt":"x","max_tokens":9999}`
	padded := "{" + s.Numbered(1001).Members() + strings.Repeat(" ", 6200) + "}"
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
		{"also beside one in the body", "/generate", string(s.Numbered(1001).Flat(`"inputs":"x"`)), raw("SignedRoute " + encoded("x")), 400, "invalid_json"},
		{"two of them", "/v1/audio/x", "x", with(inHead(s.Numbered(1001)), "Authorization", "SignedRoute "+s.Numbered(1002).Token()), 400, "invalid_json"},
		{"twice the same", "/v1/audio/x", "x", with(inHead(s.Numbered(1001)), "Authorization", "SignedRoute "+s.Numbered(1001).Token()), 400, "invalid_json"},
		{"a member twice", "/v1/audio/x", "x", raw("SignedRoute " + encoded(`{"cost":1,`+s.Numbered(1001).Members()+`}`)), 400, "invalid_json"},
		{"members missing", "/v1/audio/x", "x", raw("SignedRoute " + encoded(`{"cost":-1}`)), 422, "invalid_ticket"},
		{"none, where the body holds none", "GET /v1/files/x", "", raw("Bearer customer"), 422, "invalid_ticket"},
		{"none, and a body that may not hold it", "GET /v1/files/x", string(s.Numbered(1001).Flat("")), nil, 422, "invalid_ticket"},
		{"endpoint", "/v1/audio/x", "x", inHead(s.Numbered(1001).With("endpoint", `"b"`)), 403, "endpoint_mismatch"},
		{"url", "/v1/audio/x", "x", inHead(s.Numbered(1001).With("url", `"http://b"`)), 403, "url_mismatch"},
		{"replay before signature", "/v1/audio/x", "x", inHead(other.Numbered(1000)), 409, "reqnum_replayed"},
		{"stale", "/v1/audio/x", "x", inHead(other.Numbered(1)), 409, "reqnum_stale"},
		{"signature before the body", "/v1/completions", "not JSON", inHead(other.Numbered(1001)), 401, "bad_signature"},
		{"a body that is no object", "/v1/completions", "[]", inHead(s.Numbered(1001)), 400, "invalid_json"},
		{"no body", "/v1/completions", "", inHead(s.Numbered(1001)), 400, "invalid_json"},
		{"a limit twice", "/v1/completions", `{"max_tokens":1,"max_tokens":2}`, inHead(s.Numbered(1001)), 400, "invalid_json"},
		{"a limit of the wrong type", "/v1/completions", `{"max_tokens":"x"}`, inHead(s.Numbered(1001)), 422, "invalid_ticket"},
		{"cost", "/v1/completions", dear, inHead(s.Numbered(1001)), 403, "cost_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, ok := strings.Cut(tt.path, " ")
			if !ok {
				method, path = "POST", tt.path
			}
			got := u.Do(method, path, []byte(tt.body), tt.header)
			require.Equal(t, tt.status, got.Status, got.Body)
			require.Equal(t, tt.code, got.Code(), got.Body)
			require.Equal(t, tt.code, got.Header.Get("X-Usher-Refusal"))
			require.NotContains(t, got.Body, "undefined")
		})
	}
	require.Len(t, m.Arrivals(), 1)
	// None of these spent the ticket.
	got := u.Do("POST", "/v1/completions", []byte(` {"prompt" : "x"}`), inHead(s.Numbered(1001)))
	require.Equal(t, 200, got.Status, got.Body)
	require.Equal(t, ` {"max_tokens":256,"prompt" : "x"}`, m.Arrivals()[1].Body)
	// The longest allowed: 8,192 bytes of base64url.
	members := "{" + s.Numbered(1002).Members()
	longest := members + strings.Repeat(" ", 8192*3/4-len(members)-1) + "}"
	require.Len(t, encoded(longest), 8192)
	require.Equal(t, 200, u.Do("POST", "/v1/audio/x", []byte("x"), raw("Bearer sr."+encoded(longest))).Status)
	// A ticket far too long for any head is still the ticket's fault; another key or
	// field as long is a fault of the head.
	for _, scheme := range []string{"Bearer sr.", "SignedRoute "} {
		for _, length := range []int{16_000, 16_500, 200_000} {
			require.Equal(t, "invalid_json", u.Do("POST", "/v1/audio/x", nil, raw(scheme+strings.Repeat("e", length))).Code(), "%s %d", scheme, length)
		}
	}
	require.Equal(t, 431, u.Do("POST", "/v1/audio/x", []byte("x"), raw("Bearer "+strings.Repeat("e", 17_000))).Status)
	require.Equal(t, 431, u.Do("POST", "/nothing", nil, raw("Bearer sr."+strings.Repeat("e", 17_000))).Status)
	require.Equal(t, 431, u.Do("POST", "/v1/audio/x", []byte("x"), with(inHead(s.Numbered(1003)), "X", strings.Repeat("e", 8200))).Status)
}

// Under observe, work that exceeds a ticket in the head is counted and not refused.
func TestWorkBesideATicketInTheHead(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
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
		got := u.Do("POST", "/v1/completions", []byte(tt.body), inHead(s.Ticket()))
		require.Equal(t, 200, got.Status, got.Body)
		require.Equal(t, tt.body, m.Arrivals()[i].Body)
		u.WaitMetric("usher_cost_exceeded_total", tt.exceeded) // counted after the answer
	}
	encoded := inHead(s.Ticket())
	encoded["Content-Encoding"] = []string{"gzip"}
	require.Equal(t, 200, u.Do("POST", "/v1/completions", []byte("zipped"), encoded).Status)
	require.Equal(t, "gzip", m.Arrivals()[6].Header.Get("Content-Encoding"))
}
