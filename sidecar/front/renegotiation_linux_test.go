package front

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A tapped connection records what it carries.
type tapped struct {
	net.Conn
	sent, came bytes.Buffer
}

func (c *tapped) Write(p []byte) (int, error) { c.sent.Write(p); return c.Conn.Write(p) }

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.came.Write(p[:n])
	return n, err
}

// helloRandom is where a hello's random is in the first record.
const helloRandom = 5 + 4 + 2

// clientKey returns what a TLS 1.2 client encrypts with, using AES-128-GCM (RFC 5246
// sections 5 and 6.3): the key and the first part of the nonce.
func clientKey(master, clientRandom, serverRandom []byte) (key, salt []byte) {
	sum := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, master)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	seed := append(append([]byte("key expansion"), serverRandom...), clientRandom...)
	var block []byte
	for a := sum(seed); len(block) < 40; a = sum(a) {
		block = append(block, sum(a, seed)...)
	}
	return block[:16], block[32:36]
}

// A TLS 1.2 client that asks for renegotiation, however often, is refused, and costs no
// signature.
func TestRenegotiationIsRefused(t *testing.T) {
	s, addr, key, config := secureServer(t, patience, false)
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = plain.Close() }()
	require.NoError(t, plain.SetDeadline(time.Now().Add(patience)))
	tap := &tapped{Conn: plain}
	var secrets strings.Builder
	config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	config.KeyLogWriter = &secrets
	client := tls.Client(tap, config)
	require.NoError(t, client.Handshake())
	require.EqualValues(t, 1, key.signed.Load())

	hello := tap.sent.Bytes()[:5+int(binary.BigEndian.Uint16(tap.sent.Bytes()[3:]))]
	master, err := hex.DecodeString(strings.Fields(secrets.String())[2])
	require.NoError(t, err)
	secret, salt := clientKey(master, hello[helloRandom:][:32], tap.came.Bytes()[helloRandom:][:32])
	block, err := aes.NewCipher(secret)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	var again []byte
	for number := range uint64(100) { // Finished was record 0
		sequence := binary.BigEndian.AppendUint64(nil, number+1)
		header := binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(8+len(hello[5:])+aead.Overhead()))
		authentic := binary.BigEndian.AppendUint16(append(append([]byte{}, sequence...), 22, 3, 3), uint16(len(hello[5:])))
		again = append(append(again, header...), sequence...)
		again = aead.Seal(again, append(append([]byte{}, salt...), sequence...), hello[5:], authentic)
	}
	_, err = plain.Write(again)
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 1))
	require.ErrorContains(t, err, "unexpected message")
	require.Eventually(t, func() bool { return openOn(s) == 0 }, patience, time.Millisecond)
	require.EqualValues(t, 1, key.signed.Load())
	require.EqualValues(t, 1, s.handshaker.counts[HandshakeFull].Load())
	for name, n := range s.Handshakes() {
		require.True(t, n == 0 || name == "full", name)
	}
}
