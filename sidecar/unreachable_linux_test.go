package sidecar

import (
	"bufio"
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A pooled connection that turns out to be dead at the first byte, and cannot be
// replaced, has carried nothing. The ticket was committed by then, but is usable again
// afterwards, as the answer says.
func TestATicketThatNobodyTookStaysGood(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	ln, err := loopback.Listen()
	require.NoError(t, err)
	address := ln.Addr().String()
	var model sync.WaitGroup
	t.Cleanup(model.Wait)
	model.Go(func() { answerAll(t, ln) })
	s := serveForFuzzing(t, "http://"+address, public)
	t.Cleanup(func() { _ = ln.Close() })

	require.Equal(t, http.StatusOK, postTicket(t, s, fuzzTicket(key, 1)))
	require.NoError(t, ln.Close())
	shutWrites(t, address)
	ticket := fuzzTicket(key, 2)
	require.Equal(t, http.StatusBadGateway, postTicket(t, s, ticket))

	ln, err = loopback.ListenAt(address)
	require.NoError(t, err)
	model.Go(func() { answerAll(t, ln) })
	require.Equal(t, http.StatusOK, postTicket(t, s, ticket))
	require.Equal(t, http.StatusConflict, postTicket(t, s, ticket))
}

// answerAll answers every request and keeps every connection until the test ends, so
// that Usher cannot notice anything from its side.
func answerAll(t *testing.T, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
		go func() { // ends with its connection
			in := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}()
	}
}

// shutWrites makes writes fail on this process's connections to address, without their
// owners' knowledge.
func shutWrites(t *testing.T, address string) {
	descriptors, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	shut := 0
	for _, d := range descriptors {
		fd, err := strconv.Atoi(d.Name())
		require.NoError(t, err)
		peer, err := unix.Getpeername(fd)
		if in, ok := peer.(*unix.SockaddrInet4); err == nil && ok && strings.HasSuffix(address, ":"+strconv.Itoa(in.Port)) {
			if unix.Shutdown(fd, unix.SHUT_WR) == nil { // a probe's may have been closed
				shut++
			}
		}
	}
	require.Positive(t, shut)
}

func postTicket(t *testing.T, s *Sidecar, body string) int {
	resp, err := http.Post("http://"+s.PublicAddr().String()+"/generate", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode
}
