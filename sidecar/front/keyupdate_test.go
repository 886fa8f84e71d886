//go:build darwin || linux

package front

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A sealer makes the TLS 1.3 records of a client, also those that crypto/tls never sends.
type sealer struct {
	suite  uint16
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// sealerOf makes a handshake over conn and returns what seals the records after it.
func sealerOf(t *testing.T, conn net.Conn) *sealer {
	t.Helper()
	var keys strings.Builder
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &keys})
	require.NoError(t, client.Handshake())
	s := &sealer{suite: client.ConnectionState().CipherSuite}
	lines := bufio.NewScanner(strings.NewReader(keys.String()))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			require.NoError(t, err)
			s.use(t, secret)
		}
	}
	require.NotNil(t, s.aead)
	return s
}

// use takes a traffic secret (RFC 8446 section 7.3).
func (s *sealer) use(t *testing.T, secret []byte) {
	t.Helper()
	var err error
	switch s.suite {
	case tls.TLS_AES_128_GCM_SHA256:
		var block cipher.Block
		block, err = aes.NewCipher(expand(t, secret, "key", 16))
		require.NoError(t, err)
		s.aead, err = cipher.NewGCM(block)
	case tls.TLS_CHACHA20_POLY1305_SHA256: // which crypto/tls prefers on processors that do not compute AES
		s.aead, err = chacha20poly1305.New(expand(t, secret, "key", chacha20poly1305.KeySize))
	default:
		require.FailNow(t, "an unexpected suite", tls.CipherSuiteName(s.suite))
	}
	require.NoError(t, err)
	s.secret, s.iv, s.seq = secret, expand(t, secret, "iv", 12), 0
}

func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	require.NoError(t, err)
	return out
}

// record appends a record of a type (RFC 8446 section 5.2).
func (s *sealer) record(dst []byte, kind byte, content ...byte) []byte {
	nonce := append([]byte(nil), s.iv...)
	seq := binary.BigEndian.AppendUint64(nil, s.seq)
	for i, b := range seq {
		nonce[4+i] ^= b
	}
	s.seq++
	n := len(content) + 1 + s.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return s.aead.Seal(append(dst, head...), nonce, append(content, kind), head)
}

// update appends a KeyUpdate that asks for one in return.
func (s *sealer) update(t *testing.T, dst []byte) []byte {
	t.Helper()
	dst = s.record(dst, 22, 24, 0, 0, 1, 1)
	s.use(t, expand(t, s.secret, "traffic upd", sha256.Size))
	return dst
}

const data = 23 // application data, as a record's type

// What came with the first byte is read without waiting, too: a KeyUpdate in it may have
// to be answered while the client's socket is full.
func TestTheSecondReadDoesNotWait(t *testing.T) {
	returned := make(chan string, 1)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		defer func() { c.CloseAfter(); c.Abandon(); c.GiveBack() }()
		fillSocket(c)
		filled := make(chan string, 1)
		go func() {
			_ = c.Conn.(*secureConn).tryFill(&c.ahead)
			filled <- string(c.ahead.Bytes())
		}()
		select {
		case text := <-filled:
			returned <- text
		case <-time.After(time.Minute):
			returned <- "it waits for the client"
		}
	})
	options.TLS = serverConfig(t)
	_, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	s := sealerOf(t, client)
	records := s.record(nil, data, []byte("GET /x HTTP/1.1\r\nHost: u\r\n\r\n")...)
	records = s.record(records, data, 'G')
	records = s.update(t, records)
	_, err = client.Write(records)
	require.NoError(t, err)
	require.Equal(t, "G", <-returned)
}

// KeyUpdates between requests are answered, and the next request is served.
func TestKeyUpdatesBetweenRequests(t *testing.T) {
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	options.TLS = serverConfig(t)
	_, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	s := sealerOf(t, client)
	for range 3 { // requests
		request := s.record(nil, data, []byte("GET /x HTTP/1.1\r\nHost: u\r\n\r\n")...)
		_, err = client.Write(request)
		require.NoError(t, err)
		// The answer is one record; those before it answer KeyUpdates.
		for answered := false; !answered; {
			head := make([]byte, 5)
			_, err = io.ReadFull(client, head)
			require.NoError(t, err)
			n := int(binary.BigEndian.Uint16(head[3:]))
			_, err = io.CopyN(io.Discard, client, int64(n))
			require.NoError(t, err)
			answered = n == len(okHead)+2+1+s.aead.Overhead()
		}
		var updates []byte
		for range 10 { // crypto/tls allows 16
			updates = s.update(t, updates)
		}
		_, err = client.Write(updates)
		require.NoError(t, err)
	}
}

// A client that asks for a reply to each of endless KeyUpdates, and reads none, is cut off
// while its connection waits for the next request.
func TestUnreadRepliesAreBounded(t *testing.T) {
	rests := make(chan struct{})
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		fillSocket(c)
		c.GiveBack()
		close(rests)
	})
	options.TLS = serverConfig(t)
	server, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	s := sealerOf(t, client)
	_, err = client.Write(s.record(nil, data, []byte("GET /x HTTP/1.1\r\nHost: u\r\n\r\n")...))
	require.NoError(t, err)
	<-rests
	for range 100 {
		var records []byte
		for range 16 {
			records = s.update(t, records)
		}
		if _, err = client.Write(s.record(records, data, '\r', '\n')); err != nil {
			break
		}
	}
	require.Eventually(t, func() bool { return openOn(server) == 0 }, patience, time.Millisecond)
}

// Empty lines that came along with a request, in records of their own, do not extend the
// time for the next one, nor hide a request behind them.
func TestEmptyLinesInRecordsOfTheirOwn(t *testing.T) {
	served := make(chan struct{}, 2)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		served <- struct{}{}
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	options.TLS, options.IdleTimeout = serverConfig(t), 300*time.Millisecond
	_, addr := startServer(t, options, hangup.Options{})
	for _, lines := range []int{1, maxEmptyReads - 2, 3 * maxEmptyReads} {
		client, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer func() { _ = client.Close() }()
		_ = client.SetDeadline(time.Now().Add(20 * time.Second)) // before the read time-out
		s := sealerOf(t, client)
		request := []byte("GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
		records, requests := s.record(nil, data, request...), 1
		for range lines {
			records = s.record(records, data, '\r', '\n')
		}
		if lines > maxEmptyReads {
			records, requests = s.record(records, data, request...), 2
		}
		_, err = client.Write(records)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, client)
		require.NoError(t, err, "%d empty lines", lines)
		require.Len(t, served, requests)
		for len(served) > 0 {
			<-served
		}
	}
}

// fillSocket writes until the client's socket takes no more.
func fillSocket(c *Conn) {
	for n := 1; n > 0; {
		n, _ = c.watched.TryWrite(make([]byte, 4<<10))
	}
}
