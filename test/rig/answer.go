package rig

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/stretchr/testify/require"
)

// An Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Code is the error_type of a refusal, in either shape.
func (a Answer) Code() string {
	var flat struct {
		ErrorType string `json:"error_type"`
		Error     any    `json:"error"`
	}
	if json.Unmarshal([]byte(a.Body), &flat) != nil {
		return ""
	}
	if e, ok := flat.Error.(map[string]any); ok {
		code, _ := e["code"].(string)
		return code
	}
	return flat.ErrorType
}

// Post sends a body as an HTTP client would.
func (u *Usher) Post(path string, body []byte) Answer {
	u.T.Helper()
	return u.Do("POST", path, body, nil)
}

func (u *Usher) Do(method, path string, body []byte, header http.Header) Answer {
	u.T.Helper()
	req, err := http.NewRequest(method, "http://"+u.Public+path, bytes.NewReader(body))
	require.NoError(u.T, err)
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := (&http.Client{Timeout: Patience}).Do(req)
	u.sound(err)
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	u.sound(err)
	return Answer{resp.StatusCode, resp.Header, string(got)}
}

// sound fails the test if there is an error. Once usher was killed, as at the end of a
// test that has failed, it ends the goroutine instead: a goroutine that fails a test that
// is over ends the process, and the first failure is never shown.
func (u *Usher) sound(err error) {
	u.T.Helper()
	if err != nil && u.killed.Load() {
		runtime.Goexit()
	}
	require.NoError(u.T, err)
}

// Raw sends bytes as they are and returns everything that comes back until the connection
// ends or has been silent for so long.
func (u *Usher) Raw(request string, silence time.Duration) string {
	u.T.Helper()
	c, err := net.Dial("tcp", u.Public)
	require.NoError(u.T, err)
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
