package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A pieceSource is a Source of pieces, followed by an error.
type pieceSource struct {
	pieces []string
	end    error
	stop   chan struct{} // closed by Stop; nil: it ends by itself
}

func (s *pieceSource) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		if s.end == nil {
			<-s.stop
			return 0, errors.New("stopped")
		}
		return 0, s.end
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *pieceSource) Stop(time.Time) {
	if s.stop != nil {
		close(s.stop)
	}
}

// echoing starts a model server that answers with the body and its framing.
func echoing(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					text := fmt.Sprintf("%d %v %s", r.ContentLength, r.TransferEncoding, body)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func clientTo(t testing.TB, address string) *Client {
	t.Helper()
	c, err := New(Options{Network: "tcp", Address: address, Host: "model", ResponseTimeout: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func sendTo(t require.TestingT, c *Client, r *Request) (string, error) {
	cn, err := c.Acquire(context.Background())
	require.NoError(t, err)
	r.Path = []byte("/x")
	resp, err := cn.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Close()
	body, err := io.ReadAll(resp)
	return string(body), err
}

// Whatever the pieces, the server gets the same bytes, in chunks or with the declared
// length, and the connection is kept.
func TestSourceArrivesAsItWas(t *testing.T) {
	c := clientTo(t, echoing(t))
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringMatching(`[a-z]`).Draw(t, "letter"), rapid.SampledFrom([]int{1, 15, 16, 255, 4096, pieceSize - 1, pieceSize, pieceSize + 1, 3 * pieceSize}).Draw(t, "size"))
		}), 0, 4).Draw(t, "pieces")
		body := strings.Join(pieces, "")
		length := int64(len(body))
		want := fmt.Sprintf("%d [] %s", length, body)
		if rapid.Bool().Draw(t, "chunked") {
			length, want = -1, "-1 [chunked] "+body
		}
		got, err := sendTo(t, c, &Request{Source: &pieceSource{pieces: pieces, end: io.EOF}, Length: length})
		require.NoError(t, err)
		require.True(t, want == got, "%.40q… instead of %.40q…", got, want)
	})
	require.EqualValues(t, 1, c.Stats().Dials, "the connection should be kept")
}

// The use fails with the error of its source, and the server gets no clean end of half a
// body.
func TestSourceFails(t *testing.T) {
	ended := make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			ended <- err
			_ = c.Close()
		}
	}()
	c := clientTo(t, l.Addr().String())
	fault := errors.New("the client's fault")
	for _, length := range []int64{-1, 100} {
		_, err := sendTo(t, c, &Request{Source: &pieceSource{pieces: []string{"some"}, end: fault}, Length: length})
		require.ErrorIs(t, err, fault)
		require.Error(t, <-ended)
	}
}

// An answer that is complete before the body is ends the reading of the source.
func TestSourceIsStopped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, c)
	}()
	source := &pieceSource{pieces: []string{"some"}, stop: make(chan struct{})}
	got, err := sendTo(t, clientTo(t, l.Addr().String()), &Request{Source: source, Length: -1})
	require.NoError(t, err)
	require.Equal(t, "no", got)
	<-source.stop
}
