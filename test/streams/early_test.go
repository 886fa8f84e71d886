package streams

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// large8 is an 8 MB prompt: more than the sockets' buffers hold.
func large8(s *rig.Signer) []byte {
	return s.Ticket().Flat(`"inputs":"` + strings.Repeat("x", 8<<20) + `"`)
}

// An answer that comes before its request has been read passes at once, whatever its
// status, although the model server neither reads on nor closes.
func TestEarlyAnswerPassesAtOnce(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	still := make(chan struct{})
	defer close(still)
	status := make(chan string, 1)
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 "+<-status+"\r\n\r\n")
		<-still
	})
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(), "USHER_UPSTREAM_URL": url,
	}).Ready()
	for answer, want := range map[string]int{
		"200 OK\r\nContent-Length: 0": 200, "204 No Content": 204, "307 Elsewhere\r\nLocation: /x\r\nContent-Length: 0": 307,
		"413 Large\r\nContent-Length: 0": 413, "500 Oh\r\nContent-Length: 0": 500,
	} {
		status <- answer
		c := rig.Dial(t, u.Public)
		body := large8(s)
		began := time.Now()
		c.Send(rig.Head(len(body)) + string(body))
		resp, err := http.ReadResponse(c.In, nil)
		require.NoError(t, err, answer)
		require.Equal(t, want, resp.StatusCode)
		require.Empty(t, resp.Header.Get("X-Usher-Refusal"))
		require.Less(t, time.Since(began), rig.Patience/3)
	}
	u.WaitMetric("usher_in_flight", 0)
}

// A model server that writes 8 MB before it reads its request gets all of it, as does
// one that streams while it reads: neither direction waits for the other.
func TestAnswerAndRequestCross(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	s := rig.NewSigner(t)
	got := make(chan int64, 1)
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
		_, _ = io.WriteString(c, strings.Repeat("x", size))
		r, err := http.ReadRequest(in)
		if err != nil {
			got <- -1
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
		_, _ = io.WriteString(c, "end")
	})
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(), "USHER_UPSTREAM_URL": url,
	}).Ready()
	answer := u.Post("/generate", large8(s))
	require.Equal(t, 200, answer.Status)
	require.Len(t, answer.Body, size+len("end"))
	require.Greater(t, <-got, int64(size))
}
