package test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"
)

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the error_type of a refusal, in either shape.
func (a answer) code() string {
	var flat struct {
		ErrorType string `json:"error_type"`
		Error     any    `json:"error"`
	}
	if json.Unmarshal([]byte(a.body), &flat) != nil {
		return ""
	}
	if e, ok := flat.Error.(map[string]any); ok {
		code, _ := e["code"].(string)
		return code
	}
	return flat.ErrorType
}

// post sends a body as an HTTP client would.
func (u *usher) post(path string, body []byte) answer {
	u.t.Helper()
	return u.do("POST", path, body, nil)
}

func (u *usher) do(method, path string, body []byte, header http.Header) answer {
	u.t.Helper()
	req, err := http.NewRequest(method, "http://"+u.public+path, bytes.NewReader(body))
	require.NoError(u.t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	require.NoError(u.t, err)
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	require.NoError(u.t, err)
	return answer{resp.StatusCode, resp.Header, string(got)}
}

// raw sends bytes as they are and returns everything that comes back until the
// connection ends or nothing came for the silence given.
func (u *usher) raw(request string, silence time.Duration) string {
	u.t.Helper()
	c, err := net.Dial("tcp", u.public)
	require.NoError(u.t, err)
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, request)
	var got bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(silence))
		n, err := c.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			return got.String()
		}
	}
}
