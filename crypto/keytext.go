package crypto

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/ssh"
)

// MaxKeys is how many keys a bundle may hold.
const MaxKeys = 8

// Errors of ParsePublicKeys.
var (
	ErrKeyFormat  = errors.New("not a public key in PEM or OpenSSH form")
	ErrWeakKey    = errors.New("key is too weak")
	ErrPrivateKey = errors.New("this is a private key, which only the autoscaler should have")
	ErrManyKeys   = errors.New("more than 8 keys")
)

// ParsePublicKeys reads a bundle of one to MaxKeys keys. A key is either a PEM block
// (RFC 7468) or an OpenSSH line of ssh-rsa or ssh-ed25519 (RFC 4253, RFC 8709). The
// block holds a SubjectPublicKeyInfo, a PKCS#1 key (RFC 8017 appendix A.1.1), or an
// X.509 certificate, of which only the key is read. There may be other text around the
// keys. Any line ending will do, even an escaped \n, and byte-order marks are ignored.
// RSA keys must have 2048 to 16384 bits. Duplicates are returned once. A bad key makes
// the whole bundle an error, which never quotes the text: ErrKeyFormat, ErrWeakKey,
// ErrPrivateKey, ErrManyKeys, ErrTooLong.
func ParsePublicKeys(text []byte) ([]*Key, error) {
	if len(text) > MaxKeyBytes {
		return nil, ErrTooLong
	}
	var keys []*Key
	rest := plainText(text)
	for found := 0; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		line = strings.Trim(line, " \t\"'") // indented in YAML, quoted in an env file
		var public any
		var err error
		switch {
		case strings.HasPrefix(line, beginBlock):
			public, rest, err = cutBlock(rest)
		case isOpenSSH(line):
			public, err = parseOpenSSH(line)
			rest = after
		default:
			rest = after
			continue
		}
		if found++; found > MaxKeys {
			return nil, ErrManyKeys
		}
		var k *Key
		if err == nil {
			k, err = newPublicKey(public)
		}
		if err != nil && found > 1 {
			err = fmt.Errorf("key %d of the bundle: %w", found, err)
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(keys, func(other *Key) bool { return other.fingerprint == k.fingerprint }) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrKeyFormat, lookOf(plainText(text)))
	}
	return keys, nil
}

var lineEnds = strings.NewReplacer("\ufeff", "", `\r\n`, "\n", `\n`, "\n", `\r`, "\n", "\r\n", "\n", "\r", "\n")

// plainText returns the text in UTF-8, without byte-order marks and with lines that end
// in \n.
func plainText(text []byte) string {
	var order binary.ByteOrder
	switch {
	case len(text) < 2:
	case text[0] == 0xff && text[1] == 0xfe:
		order = binary.LittleEndian
	case text[0] == 0xfe && text[1] == 0xff:
		order = binary.BigEndian
	}
	if order != nil {
		units := make([]uint16, len(text)/2)
		for i := range units {
			units[i] = order.Uint16(text[2*i:])
		}
		text = []byte(string(utf16.Decode(units)))
	}
	return lineEnds.Replace(string(text))
}

const beginBlock = "-----BEGIN "

// cutBlock cuts off the PEM block with which the text begins, apart from blanks. It
// ignores line breaks, because they are often lost in variables.
func cutBlock(text string) (public any, rest string, err error) {
	text = text[strings.Index(text, beginBlock)+len(beginBlock):]
	label, after, ok := strings.Cut(text, "-----")
	if !ok || len(label) > 64 || strings.Contains(label, "\n") {
		return nil, "", fmt.Errorf("%w: its BEGIN line is malformed", ErrKeyFormat)
	}
	if strings.Contains(label, "PRIVATE KEY") {
		return nil, "", ErrPrivateKey
	}
	body, rest, ok := strings.Cut(after, "-----END "+label+"-----")
	if !ok {
		return nil, "", fmt.Errorf("%w: PEM of type %q without its END line", ErrKeyFormat, label)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		return nil, "", fmt.Errorf("%w: PEM of type %q with invalid base64", ErrKeyFormat, label)
	}
	switch label {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(der)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(der)
	case "CERTIFICATE", "X509 CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(der); err == nil {
			public = certificate.PublicKey
		}
	default:
		err = errors.New("only PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE are supported")
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: PEM of type %q: %w", ErrKeyFormat, label, err)
	}
	return public, rest, nil
}

// isOpenSSH reports whether a line is a key in OpenSSH's format.
func isOpenSSH(line string) bool {
	kind, rest, _ := strings.Cut(line, " ")
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"} {
		if strings.HasPrefix(kind, prefix) {
			return strings.HasPrefix(strings.TrimSpace(rest), "AAAA")
		}
	}
	return false
}

func parseOpenSSH(line string) (any, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fmt.Errorf("%w: malformed OpenSSH line", ErrKeyFormat)
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		return c.CryptoPublicKey(), nil
	}
	return nil, fmt.Errorf("%w: %s", ErrKeyFormat, key.Type())
}

func newPublicKey(public any) (*Key, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return newRSAKey(public)
	case ed25519.PublicKey:
		return newEd25519Key(public)
	}
	return nil, fmt.Errorf("%w: neither RSA nor Ed25519", ErrKeyFormat)
}

// lookOf says what a text that contains no key looks like.
func lookOf(text string) string {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "it is empty"
	case text[0] == 0x30 && len(text) > 1 && text[1] >= 0x80: // SEQUENCE, long form
		return "it looks like DER; convert it to PEM with openssl pkey -pubin -inform DER"
	case strings.HasPrefix(text, "---- BEGIN SSH2"):
		return "it is in the format of RFC 4716; convert it to an OpenSSH line with ssh-keygen -i"
	case strings.Contains(text, beginBlock):
		return "its BEGIN line is not at the start of a line"
	case strings.HasPrefix(text, "MII"), strings.HasPrefix(text, "MCow"):
		return "its BEGIN and END lines are missing"
	case text[0] == '<':
		return "it looks like HTML"
	case text[0] == '{', text[0] == '[':
		return "it looks like JSON"
	}
	return "it contains neither a PEM block nor an OpenSSH line"
}
