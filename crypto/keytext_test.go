package crypto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// selfSigned makes a certificate that expired long ago: only its key matters.
func selfSigned(t testing.TB, public, private any) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	return block("CERTIFICATE", der)
}

// utf16Text encodes a text as PowerShell writes it.
func utf16Text(text string, order binary.AppendByteOrder) string {
	out := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// However a key is encoded or wrapped, it is read as the same key.
func TestKeyTexts(t *testing.T) {
	r := rsakey.New(t)
	e, seed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	first, second := pkix(t, &r.PublicKey), openSSH(t, e)
	a, err := parseOne(first)
	require.NoError(t, err)
	b, err := parseOne(second)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		text string
		want []*Key
	}{
		"text before and after": {"Subject: the autoscaler\nValid: yes\n\n" + first + "\nthat was it\n", []*Key{a}},
		"openssl's text":        {"Public-Key: (2048 bit)\nModulus:\n    00:b1:\n" + first, []*Key{a}},
		"BOM":                   {"\ufeff" + first, []*Key{a}},
		"BOM, OpenSSH":          {"\ufeff" + second, []*Key{b}},
		"BOMs of two files":     {"\ufeff" + first + "\ufeff" + second, []*Key{a, b}},
		"UTF-16LE":              {utf16Text(first, binary.LittleEndian), []*Key{a}},
		"UTF-16BE":              {utf16Text(first, binary.BigEndian), []*Key{a}},
		"CRLF":                  {strings.ReplaceAll(first+second, "\n", "\r\n"), []*Key{a, b}},
		"lone CR":               {strings.ReplaceAll(first+second, "\n", "\r"), []*Key{a, b}},
		"escaped":               {strings.ReplaceAll(first, "\n", `\n`), []*Key{a}},
		"escaped CRLF":          {strings.ReplaceAll(first, "\n", `\r\n`), []*Key{a}},
		"escaped bundle":        {strings.ReplaceAll(second+first, "\n", `\n`), []*Key{b, a}},
		"quoted":                {`"` + strings.ReplaceAll(first, "\n", `\n`) + `"`, []*Key{a}},
		"joined lines":          {strings.ReplaceAll(first+first, "\n", " "), []*Key{a}},
		"indented":              {"key: |\n    " + strings.ReplaceAll(first, "\n", "\n    "), []*Key{a}},
		"PKCS#1":                {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)), []*Key{a}},
		"certificate":           {selfSigned(t, &r.PublicKey, r), []*Key{a}},
		"Ed25519 certificate":   {selfSigned(t, e, seed), []*Key{b}},
		"bundle":                {first + second, []*Key{a, b}},
		"twice":                 {first + second + first + selfSigned(t, &r.PublicKey, r), []*Key{a, b}},
		"no line end":           {strings.TrimSpace(first) + "\n" + strings.TrimSpace(second), []*Key{a, b}},
		"options and comment":   {"# keys\n" + strings.TrimSpace(second) + " autoscaler@host\n", []*Key{b}},
	} {
		keys, err := ParsePublicKeys([]byte(tt.text))
		require.NoError(t, err, name)
		require.Equal(t, prints(tt.want...), prints(keys...), name)
	}
}

// The error says what is wrong, and quotes nothing of the text.
func TestKeyTextsThatAreRefused(t *testing.T) {
	r := rsakey.New(t)
	e, seed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good := pkix(t, e)
	private, err := x509.MarshalPKCS8PrivateKey(seed)
	require.NoError(t, err)
	weak := pkix(t, &rsa.PublicKey{N: new(big.Int).Rsh(r.N, 1024), E: 65537})
	bundle := func(n int) (text string) {
		for range n {
			text += good
		}
		return text
	}
	secret := strings.Split(block("PRIVATE KEY", private), "\n")[1]
	for name, tt := range map[string]struct {
		text string
		err  error
		says string
	}{
		"empty":                 {"", ErrKeyFormat, "it is empty"},
		"blank":                 {"\ufeff \r\n", ErrKeyFormat, "it is empty"},
		"text":                  {"hello", ErrKeyFormat, "neither a PEM block nor an OpenSSH line"},
		"HTML":                  {"<html><pre>x", ErrKeyFormat, "HTML"},
		"inside a line":         {"<html>" + good, ErrKeyFormat, "not at the start of a line"},
		"JSON":                  {`{"keys":[]}`, ErrKeyFormat, "JSON"},
		"DER":                   {"\x30\x82\x01\x22\x30", ErrKeyFormat, "DER"},
		"without its lines":     {strings.Split(good, "\n")[1], ErrKeyFormat, "BEGIN and END lines are missing"},
		"SSH2":                  {"---- BEGIN SSH2 PUBLIC KEY ----\n", ErrKeyFormat, "RFC 4716"},
		"cut":                   {good[:len(good)/2], ErrKeyFormat, "without its END line"},
		"damaged":               {strings.Replace(good, "M", "*", 1), ErrKeyFormat, "with invalid base64"},
		"other block":           {block("DH PARAMETERS", []byte("x")), ErrKeyFormat, `"DH PARAMETERS"`},
		"malformed BEGIN":       {"-----BEGIN PUBLIC\nKEY-----", ErrKeyFormat, "malformed"},
		"private":               {block("PRIVATE KEY", private), ErrPrivateKey, ""},
		"private EC":            {block("EC PRIVATE KEY", []byte("x")), ErrPrivateKey, ""},
		"private OpenSSH":       {block("OPENSSH PRIVATE KEY", []byte("x")), ErrPrivateKey, ""},
		"private encrypted":     {block("ENCRYPTED PRIVATE KEY", []byte("x")), ErrPrivateKey, ""},
		"private, cut":          {block("PRIVATE KEY", private)[:60], ErrPrivateKey, ""},
		"private after public":  {good + block("PRIVATE KEY", private), ErrPrivateKey, "key 2 of the bundle"},
		"public inside private": {"-----BEGIN PRIVATE KEY-----\n" + good, ErrPrivateKey, ""},
		"weak, second":          {good + weak, ErrWeakKey, "key 2 of the bundle"},
		"ECDSA certificate":     {selfSigned(t, &curve.PublicKey, curve), ErrKeyFormat, "neither RSA nor Ed25519"},
		"ECDSA, second":         {good + openSSH(t, curve.Public()), ErrKeyFormat, "neither RSA nor Ed25519"},
		"nine":                  {bundle(9), ErrManyKeys, "8"},
		"long":                  {strings.Repeat("#\n", 1<<19) + good, ErrTooLong, "1 MiB"},
	} {
		_, err := ParsePublicKeys([]byte(tt.text))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.says, name)
		require.NotContains(t, err.Error(), secret[:20], name)
	}
	keys, err := ParsePublicKeys([]byte(bundle(8)))
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

// FuzzParsePublicKeys: whatever the text, nothing panics, no bundle is too large, and
// each key can be used and is contained in the text in a form that is also read on its
// own.
func FuzzParsePublicKeys(f *testing.F) {
	r := rsakey.New(f)
	e, seed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(f, err)
	first, second := pkix(f, &r.PublicKey), openSSH(f, e)
	for _, text := range []string{
		first, second, openSSH(f, &r.PublicKey), "", first + second, "\ufeff" + second + "text\n" + first,
		strings.ReplaceAll(first, "\n", `\n`), strings.ReplaceAll(first+second, "\n", "\r"), selfSigned(f, e, seed),
		utf16Text(second, binary.LittleEndian), strings.ReplaceAll(first, "\n", " "), "-----BEGIN PRIVATE KEY-----\n" + first,
		block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParsePublicKeys(text)
		if err != nil {
			require.Empty(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		require.LessOrEqual(t, len(keys), MaxKeys)
		for i, k := range keys {
			require.NotEmpty(t, k.Algorithm())
			require.NotContains(t, prints(keys[:i]...), [32]byte(k.fingerprint))
			_, _ = k.prepare(make([]byte, 256)) // whatever it says, it does not panic
		}
		if block, _ := pem.Decode(text); block == nil || block.Type != "PRIVATE KEY" {
			return
		}
		require.Fail(t, "a text with a private key was taken")
	})
}
