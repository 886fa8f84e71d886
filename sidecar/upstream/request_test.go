package upstream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

func TestRequestHead(t *testing.T) {
	full := Options{Host: "model:5001", PathPrefix: "/m", Authorization: "Bearer ours"}
	tests := []struct {
		name    string
		options Options
		lines   string
		query   string
		want    string
	}{
		{"nothing is invented", Options{Host: "m"}, "", "",
			"POST /v1/x HTTP/1.1\r\nHost: m\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"end-to-end fields pass in order, repeated and unchanged", Options{Host: "m"},
			"Accept: a\r\nX-B:  two  blanks \r\nAccept: b\r\nCookie: z=1; a=2\r\nX-Empty:\r\nX-A: \xe9\r\nUser-Agent: curl\r\nContent-Type: text/json\r\ntraceparent: 00\r\n", "",
			"POST /v1/x HTTP/1.1\r\nHost: m\r\nAccept: a\r\nX-B:  two  blanks \r\nAccept: b\r\nCookie: z=1; a=2\r\nX-Empty:\r\nX-A: \xe9\r\nUser-Agent: curl\r\nContent-Type: text/json\r\ntraceparent: 00\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"hop-by-hop fields do not", Options{Host: "m"},
			"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\nProxy-X: 1\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nExpect: 100-continue\r\nX: 1\r\n", "",
			"POST /v1/x HTTP/1.1\r\nHost: m\r\nX: 1\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"nor those that Connection names", Options{Host: "m"},
			"Connection: X-One , close\r\nX-One: 1\r\nX-Two: 2\r\nConnection: x-three\r\nX-Three: 3\r\n", "",
			"POST /v1/x HTTP/1.1\r\nHost: m\r\nX-Two: 2\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"Connection cannot name what we set", full,
			"Connection: close, X-Request-Id, Content-Type, Content-Length, Host, Authorization\r\nContent-Type: a/b\r\nContent-Length: 999\r\nX-Request-Id: theirs\r\nAuthorization: Bearer customer\r\n", "",
			"POST /m/v1/x HTTP/1.1\r\nHost: model:5001\r\nAuthorization: Bearer ours\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"the customer's key stays here", Options{Host: "m"},
			"authorization: Bearer customer\r\nAUTHORIZATION: again\r\n", "a=1&api_key=secret&b=2",
			"POST /v1/x?a=1&b=2 HTTP/1.1\r\nHost: m\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
		{"framing is ours", Options{Host: "m"},
			"Transfer-Encoding: chunked\r\nX: 1\r\n", "",
			"POST /v1/x HTTP/1.1\r\nHost: m\r\nX: 1\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := &Request{Path: []byte("/v1/x"), Query: []byte(tt.query), RequestID: "id-1", Body: []byte("body")}
			if tt.lines != "" {
				req.Header = headerOf(t, tt.lines)
			}
			head, err := tt.options.appendHead(nil, req)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(head))
		})
	}
}

// Lines that a parser might have let through do not become fields here.
func TestRequestHeadHoldsNoInjection(t *testing.T) {
	block := "Good: 1\r\n" +
		"A: 1\rHost: evil\r\n" + // a bare CR
		"B: \x00\r\n" +
		" folded: 1\r\n" +
		"\tContent-Length: 9\r\n" +
		"Transfer-Encoding : chunked\r\n" +
		"Content Length: 9\r\n" +
		": nameless\r\n" +
		"no colon\r\n" +
		"\r\n" +
		"Bare: lf\n" +
		"Last: 2"
	require.Equal(t, "Good: 1\r\nBare: lf\r\nLast: 2\r\n", string(appendFields(nil, []byte(block), without{})))
}

func TestRequestThatIsNone(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	tests := []struct {
		name string
		req  Request
	}{
		{"line end in the path", Request{Path: []byte("/a\r\nX: 1")}},
		{"blank in the path", Request{Path: []byte("/a HTTP/1.1")}},
		{"no slash", Request{Path: []byte("a")}},
		{"no path", Request{}},
		{"line end in the query", Request{Path: []byte("/"), Query: []byte("a\nb")}},
		{"line end in the name", Request{Path: []byte("/"), RequestID: "a\r\nb: c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := acquire(t, c).RoundTrip(&tt.req)
			require.ErrorIs(t, err, ErrRequest)
			require.Equal(t, 1, c.Stats().Idle)
		})
	}
	require.Zero(t, m.served.Load())
}

// Whatever a header block holds, the output is a list of fields that another parser reads
// back alike, and none of them is one that we set or drop.
func FuzzRequestFields(f *testing.F) {
	f.Add([]byte("A: 1\r\nConnection: a, b\r\nB: 2\r\n"))
	f.Add([]byte("A: 1\r\n B: 2\r\nHost: x\r\n\r\nC: 3\n\nD : 1\r\nE:\x001\r\n"))
	f.Add([]byte("Transfer-Encoding:chunked\r\nConnection: close,,Content-Length\r\nx-request-id: 1\r"))
	f.Fuzz(func(t *testing.T, block []byte) {
		out := appendFields(nil, block, without{})
		rest := out
		for len(rest) > 0 {
			end := bytes.Index(rest, []byte("\r\n"))
			require.GreaterOrEqual(t, end, 0)
			name, value, ok := http1.SplitField(rest[:end])
			require.True(t, ok, "%q", rest[:end])
			require.False(t, isHopByHop(name) || isOurs(name), "%q", name)
			require.NotContains(t, string(value), "\n")
			rest = rest[end+2:]
		}
		require.Equal(t, string(out), string(appendFields(nil, out, without{})), "a second time must change nothing")
		require.NotContains(t, string(out), "\r\n\r\n")
	})
}

// A traceparent of ours replaces the client's; without one the client's passes.
func TestTraceparent(t *testing.T) {
	var o Options
	header := headerOf(t, "TraceParent: theirs\r\ntracestate: s\r\nContent-Length: 0\r\n")
	for ours, want := range map[string]string{"": "TraceParent: theirs\r\ntracestate: s\r\n", "ours": "tracestate: s\r\ntraceparent: ours\r\n"} {
		head, err := o.appendHead(nil, &Request{Header: header, Path: []byte("/"), Traceparent: ours})
		require.NoError(t, err)
		require.Contains(t, string(head), want)
		require.Equal(t, 1, strings.Count(strings.ToLower(string(head)), "traceparent:"))
	}
}
