package crypto

import (
	gocrypto "crypto"
	"crypto/rsa"
	"crypto/sha256"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto/modexp"
)

// BenchmarkVerifyRSA2048 measures a whole check. It uses a fixed key, because making one
// takes a random number of tries.
func BenchmarkVerifyRSA2048(b *testing.B) {
	schema, err := ParseSchema("auto")
	require.NoError(b, err)
	set := NewKeySet(schema, 0)
	key, vectors := readVectors(b)
	now := time.Now()
	set.Install([]*Key{key}, now)
	m, signature := vectors[0].ticket(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Verify(m, signature, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyBundle is the same with as many keys as can be accepted, of which the
// last is in use, and with a signature that matches none.
func BenchmarkVerifyBundle(b *testing.B) {
	schema, err := ParseSchema("auto")
	require.NoError(b, err)
	set := NewKeySet(schema, time.Hour)
	key, vectors := readVectors(b)
	now := time.Now()
	for range 2 {
		var bundle []*Key
		for range MaxKeys {
			_, other := testKey(b)
			bundle = append(bundle, other)
		}
		bundle[MaxKeys-1] = key
		set.Install(bundle, now)
	}
	m, signature := vectors[0].ticket(b)
	forged := append([]byte{0}, signature[1:]...)
	for name, signature := range map[string][]byte{"good": signature, "forged": forged} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Verify(m, signature, now); (err == nil) != (name == "good") {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMessage measures a check without its RSA operation: the message in both
// spellings of its cost, hashed and compared.
func BenchmarkMessage(b *testing.B) {
	schema, err := ParseSchema("auto")
	require.NoError(b, err)
	m := testMessage(b, "256")
	c := check{key: &Key{rsa: new(rsaVerifier)}, digest: make([]byte, sha256.Size)}
	var spellings [maxSpellings]string
	var scratch [512]byte
	b.ReportAllocs()
	for b.Loop() {
		for _, cost := range m.Cost.spellings(&spellings) {
			if c.fits(appendMessage(scratch[:0], &indented, schema.alternatives[0], m, cost)) {
				b.Fatal("fits")
			}
		}
	}
}

// BenchmarkAgainstOpenSSL reports the rate of verifications relative to OpenSSL's, for
// each implementation that this processor supports. Both are measured in one run, in CPU
// time, so that other load on the machine matters less.
//
//	go test -run '^$' -bench AgainstOpenSSL -count 5 ./crypto
func BenchmarkAgainstOpenSSL(b *testing.B) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		b.Skip("openssl is missing: apt-get install openssl")
	}
	private, _ := testKey(b)
	digest := sha256.Sum256([]byte("message"))
	signature, err := rsa.SignPKCS1v15(nil, private, gocrypto.SHA256, digest[:])
	require.NoError(b, err)
	keys := waysOf(b, &private.PublicKey)
	for _, way := range modexp.Ways(private.N.BitLen()) {
		b.Run(string(way), func(b *testing.B) {
			began := cpuTime(b)
			for b.Loop() {
				if !fits(keys[way], []byte("message"), signature) {
					b.Fatal("does not verify")
				}
			}
			mine := float64(b.N) / (cpuTime(b) - began).Seconds()
			out, err := exec.Command(openssl, "speed", "-seconds", "1", "rsa2048").Output()
			require.NoError(b, err)
			fields := strings.Fields(strings.TrimSpace(string(out)))
			theirs, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			require.NoError(b, err)
			b.ReportMetric(mine, "verify/s")
			b.ReportMetric(theirs, "openssl-verify/s")
			b.ReportMetric(mine/theirs, "ratio")
		})
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
