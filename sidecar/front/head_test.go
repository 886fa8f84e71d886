package front

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// headOf parses a head that arrived whole.
func headOf(wire string) *Head {
	h := new(Head)
	h.add([]byte(wire))
	h.parse()
	return h
}

func TestHead(t *testing.T) {
	h := headOf("\r\nPOST /v1/completions?a=b&c HTTP/1.1\r\nHost: a\r\nORIGIN:  https://o \r\nX-Request-Id: one\r\n" +
		"content-encoding: Identity\r\nConnection: x, Close\r\nContent-Length: 12\r\nX: y\r\n\r\n")
	require.Nil(t, h.fault)
	require.Equal(t, "/v1/completions", string(h.Path))
	require.Equal(t, "a=b&c", string(h.Query))
	require.Equal(t, "https://o", string(h.Value(Origin)))
	require.Equal(t, "one", h.ID())
	require.True(t, h.Is("POST"))
	require.True(t, h.Close)
	require.False(t, h.Encoded)
	require.EqualValues(t, 12, h.Length())
	require.True(t, strings.HasPrefix(string(h.Block), "Host: a\r\n"))
	require.True(t, strings.HasSuffix(string(h.Block), "\r\nX: y\r\n"))

	require.True(t, headOf("POST / HTTP/1.0\r\n\r\n").Close)
	require.False(t, headOf("POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").Close)
	require.True(t, headOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Encoding: identity\r\n\r\n").Encoded)
	require.EqualValues(t, -1, headOf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").Length())
}

// A ticket in Authorization takes no room from the other fields.
func TestHeadIsBounded(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, tt := range map[string]struct {
		wire   string
		status int // 0: no fault
	}{
		"a ticket and as much again": {"POST / HTTP/1.1\r\nHost: a\r\nX: " + long(8000) + "\r\nAuthorization: Bearer sr." + long(8192) + "\r\n\r\n", 0},
		"a target":                   {"POST /" + long(8192) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"a method":                   {long(8192) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"a field":                    {"POST / HTTP/1.1\r\nHost: a\r\nX: " + long(8192) + "\r\n\r\n", 431},
		"fields":                     {"POST / HTTP/1.1\r\nHost: a\r\nX: " + long(4096) + "\r\nX: " + long(4096) + "\r\n\r\n", 431},
		"target and field":           {"POST /" + long(4096) + " HTTP/1.1\r\nHost: a\r\nX: " + long(4096) + "\r\n\r\n", 431},
	} {
		status := 0
		if h := headOf(tt.wire); h.fault != nil {
			status = h.fault.Status
		}
		require.Equal(t, tt.status, status, name)
	}
}

// The id of a request is the client's only if there is exactly one, and it is harmless.
func TestRequestID(t *testing.T) {
	for lines, want := range map[string]string{
		"X-Request-Id: a-1:b\r\n":                            "a-1:b",
		"X-Request-Id: a\r\nX-Request-Id: a\r\n":             "",
		"X-Request-Id: a\"b\r\n":                             "",
		"X-Request-Id:\r\n":                                  "",
		"X-Request-Id: " + strings.Repeat("a", 128) + "\r\n": strings.Repeat("a", 128),
		"X-Request-Id: " + strings.Repeat("a", 129) + "\r\n": "",
	} {
		id := headOf("POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n").ID()
		if want == "" {
			require.Regexp(t, "^[0-9a-f]{32}$", id)
			continue
		}
		require.Equal(t, want, id)
	}
}

// A part of a head is enough for the shape of the answer.
func TestHeadInPart(t *testing.T) {
	h := headOf("POST /v1/chat/completions HTTP/9\r\nOrigin: https://mine\r\nX-Request-Id: mine\r\nX: y")
	require.Equal(t, "/v1/chat/completions", string(h.Path))
	require.Equal(t, "https://mine", string(h.Value(Origin)))
	require.Equal(t, "mine", h.ID())
	for _, wire := range []string{"", "P", "POST", "POST ", "POST /a", "\r\n", "\n\n\n", "T / HTTP/1.1\r\n\r", "T / HTTP/1.1\r\nA: b\r\n\r"} {
		headOf(wire)
	}
	var none Head
	none.parse()
	require.Empty(t, none.Path)
}

func TestTraceID(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for value, want := range map[string]string{
		"00-" + id + "-" + parent + "-01":                      id,
		"00-" + id + "-" + parent + "-00":                      id,
		"01-" + id + "-" + parent + "-01":                      id,
		"01-" + id + "-" + parent + "-01-what-comes":           id,
		"00-" + id + "-" + parent + "-01-what-comes":           "",
		"01-" + id + "-" + parent + "-01what":                  "",
		"ff-" + id + "-" + parent + "-01":                      "",
		"00-" + strings.ToUpper(id) + "-" + parent + "-01":     "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01": "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":     "",
		"00-" + id + "-" + parent + "-0":                       "",
		"00_" + id + "-" + parent + "-01":                      "",
		"":                                                     "",
	} {
		h := headOf("POST / HTTP/1.1\r\nHost: a\r\nTraceparent: " + value + "\r\n\r\n")
		require.Equal(t, want, h.TraceID(), "%q", value)
	}
	line := "Traceparent: 00-" + id + "-" + parent + "-01\r\n"
	require.Empty(t, headOf("POST / HTTP/1.1\r\nHost: a\r\n"+line+line+"\r\n").TraceID(), "two traceparent fields name no trace")
}
