package crypto

import (
	"bytes"
	gocrypto "crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"math/big"
	"testing"
	"time"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto/modexp"
	"github.com/usher-sidecar/usher/test/rsakey"
)

// wycheproofGroup is the part of a Wycheproof file that is used.
type wycheproofGroup struct {
	PublicKeyPem string
	Tests        []struct {
		TcID             int
		Comment          string
		Msg, Sig, Result string
		Flags            []string
	}
}

func wycheproofGroups(t *testing.T, file string) []wycheproofGroup {
	t.Helper()
	raw, err := fs.ReadFile(wycheproof.TestVectors, file)
	require.NoError(t, err)
	var content struct{ TestGroups []wycheproofGroup }
	require.NoError(t, json.Unmarshal(raw, &content))
	require.NotEmpty(t, content.TestGroups)
	return content.TestGroups
}

// keys is the group's key, an RSA key once for each way.
func (g *wycheproofGroup) keys(t *testing.T) map[modexp.Way]*Key {
	t.Helper()
	key, err := parseOne(g.PublicKeyPem)
	require.NoError(t, err)
	block, _ := pem.Decode([]byte(g.PublicKeyPem))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	if public, ok := public.(*rsa.PublicKey); ok {
		return waysOf(t, public)
	}
	return map[modexp.Way]*Key{"": key}
}

// Wycheproof's cases. Its "acceptable" ones are encodings without the NULL parameters.
// RFC 8017 section 9.2 requires these, so here such encodings are refused.
func TestWycheproof(t *testing.T) {
	for _, file := range []string{
		"rsa_signature_2048_sha256_test.json", "rsa_signature_3072_sha256_test.json", "rsa_signature_4096_sha256_test.json", "ed25519_test.json",
	} {
		cases := 0
		for _, g := range wycheproofGroups(t, file) {
			keys := g.keys(t)
			for _, tt := range g.Tests {
				message, err := hex.DecodeString(tt.Msg)
				require.NoError(t, err)
				signature, err := hex.DecodeString(tt.Sig)
				require.NoError(t, err)
				for way, key := range keys {
					require.Equal(t, tt.Result == "valid", fits(key, message, signature), "%s %d: %s (%s)", file, tt.TcID, tt.Comment, way)
				}
				cases++
			}
		}
		require.Greater(t, cases, 50, file)
	}
}

// waysOf returns an RSA key, once for each implementation with which this processor can
// check its signatures.
func waysOf(t testing.TB, public *rsa.PublicKey) map[modexp.Way]*Key {
	t.Helper()
	keys := map[modexp.Way]*Key{}
	for _, way := range modexp.Ways(public.N.BitLen()) {
		key, err := newRSAKey(public)
		require.NoError(t, err)
		key.rsa.modulus, err = way.New(public.N)
		require.NoError(t, err)
		keys[way] = key
	}
	require.Contains(t, keys, modexp.Portable)
	return keys
}

func fits(k *Key, message, signature []byte) bool {
	check, ok := k.prepare(signature)
	return ok && check.fits(message)
}

// The classic forgeries, on keys for which they would work if padding were
// parsed.
func TestForgeries(t *testing.T) {
	message := []byte("message")
	digest := sha256.Sum256(message)
	private := rsakey.New(t)
	keys := waysOf(t, &private.PublicKey)
	// raw makes the signature of any encoded message. A forger would have to find it; we
	// compute it with the private key.
	raw := func(encoded []byte) []byte {
		m := new(big.Int).SetBytes(encoded)
		return m.Exp(m, private.D, private.N).FillBytes(make([]byte, 256))
	}
	encode := func(info []byte) []byte {
		return append(append(append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-len(info))...), 0), info...)
	}
	info := append(append([]byte(nil), sha256Prefix...), digest[:]...)

	noNull := append([]byte{0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20}, digest[:]...)
	longLength := append([]byte{0x30, 0x81, 0x31}, info[2:]...)
	wrongOID := bytes.Clone(info)
	wrongOID[14] = 2
	old := sha1.Sum(message)
	sha1Info := append([]byte{0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14}, old[:]...)
	shortPadding := append(append([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, info...), make([]byte, 256-11-len(info))...)
	typeTwo := encode(info)
	typeTwo[1] = 2
	leading := encode(info)
	leading[0] = 1
	hole := encode(info)
	hole[20] = 0xfe
	number := func(n int64) []byte { return big.NewInt(n).FillBytes(make([]byte, 256)) }
	minusOne := new(big.Int).Sub(private.N, big.NewInt(1)).FillBytes(make([]byte, 256))
	good := raw(encode(info))
	beyond := new(big.Int).Add(new(big.Int).SetBytes(good), private.N)
	for name, signature := range map[string][]byte{
		"no NULL": raw(encode(noNull)), "BER length": raw(encode(longLength)), "wrong OID": raw(encode(wrongOID)),
		"SHA-1": raw(encode(sha1Info)), "garbage after the hash": raw(shortPadding), "block type 2": raw(typeTwo),
		"leading byte": raw(leading), "a hole in the padding": raw(hole), "digest alone": raw(encode(digest[:])),
		"s = 0": number(0), "s = 1": number(1), "s = n-1": minusOne, "s = n": private.N.Bytes(), "s + n": beyond.Bytes(),
		"short": good[1:], "long": append(bytes.Clone(good), 0), "zero in front": append([]byte{0}, good...), "empty": {},
	} {
		for way, key := range keys {
			require.False(t, fits(key, message, signature), "%s (%s)", name, way)
		}
	}
	for way, key := range keys {
		require.True(t, fits(key, message, good), "the honest one (%s)", way)
		require.False(t, fits(key, []byte("another"), good), way)
	}
}

// Bleichenbacher's low-exponent forgery: a cube root whose cube begins as a
// signature should, and ends in garbage.
func TestCubeRootForgery(t *testing.T) {
	message := []byte("message")
	digest := sha256.Sum256(message)
	n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), big.NewInt(1)) // odd; never factored here
	prefix := append(append([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, sha256Prefix...), digest[:]...)
	target := new(big.Int).SetBytes(append(prefix, bytes.Repeat([]byte{0xff}, 256-len(prefix))...))
	root := cubeRoot(target)
	cube := new(big.Int).Exp(root, big.NewInt(3), nil).FillBytes(make([]byte, 256))
	require.True(t, bytes.HasPrefix(cube, prefix), "the forgery is well made")
	for way, key := range waysOf(t, &rsa.PublicKey{N: n, E: 3}) {
		require.False(t, fits(key, message, root.FillBytes(make([]byte, 256))), way)
	}
}

// cubeRoot returns the integer part of a cube root, by bisection.
func cubeRoot(n *big.Int) *big.Int {
	low, high := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/3+1))
	for low.Cmp(high) < 0 {
		mid := new(big.Int).Add(low, high)
		mid.Add(mid, big.NewInt(1)).Rsh(mid, 1)
		if new(big.Int).Exp(mid, big.NewInt(3), nil).Cmp(n) <= 0 {
			low = mid
		} else {
			high = mid.Sub(mid, big.NewInt(1))
		}
	}
	return low
}

// testKey makes a signer and its key.
func testKey(t testing.TB) (*rsa.PrivateKey, *Key) {
	t.Helper()
	private := rsakey.New(t)
	key, err := newRSAKey(&private.PublicKey)
	require.NoError(t, err)
	return private, key
}

func testMessage(t testing.TB, cost string) *Message {
	t.Helper()
	c, err := ParseCost([]byte(cost))
	require.NoError(t, err)
	return &Message{Cost: c, Endpoint: "my-llama", Reqnum: 14395, URL: "http://203.0.113.7:41234"}
}

func sign(t testing.TB, private *rsa.PrivateKey, fields, cost string, m *Message) []byte {
	t.Helper()
	schema, err := ParseSchema(fields)
	require.NoError(t, err)
	digest := sha256.Sum256(appendMessage(nil, &indented, schema.alternatives[0], m, cost))
	signature, err := rsa.SignPKCS1v15(nil, private, gocrypto.SHA256, digest[:])
	require.NoError(t, err)
	return signature
}

func TestAlternativesNeedTheirFields(t *testing.T) {
	private, key := testKey(t)
	schema, err := ParseSchema("url|cost,endpoint,reqnum,url|reqnum,request_idx")
	require.NoError(t, err)
	set := NewKeySet(schema, 0)
	now := time.Unix(0, 0)
	set.Install([]*Key{key}, now)
	m := testMessage(t, "1")
	m.Reqnum = -1
	proof, err := set.Verify(m, sign(t, private, "url", "", m), now)
	require.NoError(t, err)
	require.False(t, proof.Signs(FieldReqnum))
	_, err = set.Verify(m, sign(t, private, "cost,endpoint,reqnum,url", "1", m), now)
	require.ErrorIs(t, err, ErrBadSignature, "an absent number is not -1")
}

func TestExplain(t *testing.T) {
	private, key := testKey(t)
	schema, err := ParseSchema("auto")
	require.NoError(t, err)
	set := NewKeySet(schema, 0)
	now := time.Unix(0, 0)
	set.Install([]*Key{key}, now)
	m := testMessage(t, "256")
	found := set.Explain(m, sign(t, private, "url,cost", "256.0", m), now)
	require.Len(t, found, 1)
	require.Equal(t, "url,cost, printed with indent=4, cost as 256.0", found[0].String())
	slash := *m
	slash.URL += "/"
	found = set.Explain(m, sign(t, private, "url", "", &slash), now)
	require.Len(t, found, 1)
	require.Equal(t, slash.URL, found[0].URL)
	other, _ := testKey(t)
	require.Empty(t, set.Explain(m, sign(t, other, "url", "", m), now))
}
