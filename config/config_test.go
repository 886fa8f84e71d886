package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/crypto"
)

// publicKey returns the text of a key, always the same one.
func publicKey(t testing.TB) string {
	t.Helper()
	text, err := makeKey()
	require.NoError(t, err)
	return text
}

var makeKey = sync.OnceValues(func() (string, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
})

// base returns the minimum that Load accepts.
func base(key string) []string {
	return []string{"USHER_ENDPOINT=E", "USHER_WORKER_URL=http://203.0.113.7:3000", "USHER_PUBLIC_KEY=" + key}
}

func load(t *testing.T, more ...string) *Config {
	t.Helper()
	c, err := Load(append(base(publicKey(t)), more...))
	require.NoError(t, err)
	return c
}

func TestDefaults(t *testing.T) {
	c := load(t)
	require.Equal(t, []string{"E"}, c.Endpoints)
	require.Equal(t, []string{"http://203.0.113.7:3000"}, c.WorkerURLs)
	require.Equal(t, Upstream{"tcp", "127.0.0.1:5001", "127.0.0.1:5001", ""}, c.Upstream)
	require.Equal(t, []string{"/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"}, route.Names(c.Routes))
	require.Equal(t, ":3000", c.ListenAddr)
	require.Equal(t, ":9090", c.AdminAddr)
	require.Equal(t, CostObserve, c.CostPolicy)
	require.Equal(t, 8192, c.ReplayWindow)
	require.Equal(t, 128, c.MaxConcurrency)
	require.Equal(t, 512, c.QueueCapacity)
	require.EqualValues(t, 268435456, c.QueueBytes)
	require.True(t, c.ReorderAuto)
	require.Equal(t, 0.01, c.ReorderTarget)
	require.Equal(t, 250*time.Millisecond, c.ReorderMaxHold)
	require.Equal(t, 16777216, c.MaxBodyBytes)
	require.Equal(t, 16384, c.MaxConnections)
	require.Equal(t, "/health", c.HealthPath)
	for d, want := range map[time.Duration]time.Duration{
		c.PublicKeyRefresh: 5 * time.Minute, c.PublicKeyGrace: 10 * time.Minute, c.QueueTimeout: 30 * time.Second,
		c.ReadTimeout: 30 * time.Second, c.IdleTimeout: 75 * time.Second, c.ConnectTimeout: 2 * time.Second,
		c.UpstreamTimeout: 10 * time.Minute, c.StreamIdleTimeout: 5 * time.Minute, c.WriteTimeout: time.Minute,
		c.HealthInterval: 5 * time.Second, c.DrainDelay: 5 * time.Second, c.DrainTimeout: 120 * time.Second,
	} {
		require.Equal(t, want, d)
	}
	require.Empty(t, c.Warnings)
	require.Nil(t, c.PublicKeyPin)
	require.Empty(t, c.TLS.Pairs)
	require.Equal(t, "info", c.LogLevel)
	require.Equal(t, LogJSON, c.LogFormat)
}

// The variables that other workers use apply unless Usher's own are set.
func TestFallbacks(t *testing.T) {
	c, err := Load([]string{
		"USHER_ENDPOINT=E", "PUBLIC_IPADDR=203.0.113.7", "VAST_TCP_PORT_4000=41234", "WORKER_PORT=4000",
		"REPORT_ADDR=https://a.example, https://b.example/", "MODEL_HEALTH_ENDPOINT=http://127.0.0.1:5001/healthz", "USHER_ROUTES=",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"http://203.0.113.7:41234"}, c.WorkerURLs)
	require.Equal(t, ":4000", c.ListenAddr)
	require.Equal(t, []string{"https://a.example/pubkey/", "https://b.example/pubkey/"}, c.PublicKeyURLs)
	require.Equal(t, "/healthz", c.HealthPath)
	require.Len(t, c.Routes, 4, "set but empty counts as unset")

	c = load(t, "REPORT_ADDR=https://a.example", "WORKER_PORT=4000", "USHER_LISTEN_ADDR=127.0.0.1:5", "MODEL_HEALTH_ENDPOINT=/h", "USHER_HEALTH_PATH=/i")
	require.Empty(t, c.PublicKeyURLs, "a source that is named comes first")
	require.Equal(t, "127.0.0.1:5", c.ListenAddr)
	require.Equal(t, "/i", c.HealthPath)

	cert, key := certificatePair(t)
	c, err = Load([]string{
		"USHER_ENDPOINT=E", "PUBLIC_IPADDR=2001:db8::7", "VAST_TCP_PORT_3000=1", "USE_SSL=true", "USHER_TLS_CERT_FILE=" + cert, "USHER_TLS_KEY_FILE=" + key,
		"USHER_PUBLIC_KEY=" + publicKey(t),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"https://[2001:db8::7]:1"}, c.WorkerURLs)
	_, err = Load(append(base(publicKey(t)), "USE_SSL=true"))
	require.ErrorContains(t, err, "/etc/instance.crt")
}

func certificatePair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return cert, key
}

func TestValues(t *testing.T) {
	c := load(t, `USHER_ENDPOINT= a\,b , c ,, d`, "USHER_WORKER_URL=http://a, https://b:1/", "USHER_UPSTREAM_URL=http://model/base/", "USHER_REORDER_HOLD=0", "USHER_COST_POLICY=Enforce")
	require.Equal(t, []string{"a,b", "c", "d"}, c.Endpoints)
	require.Equal(t, []string{"http://a", "https://b:1/"}, c.WorkerURLs)
	require.Equal(t, Upstream{"tcp", "model:80", "model", "/base"}, c.Upstream)
	require.False(t, c.ReorderAuto)
	require.Zero(t, c.ReorderHold)
	require.Equal(t, CostEnforce, c.CostPolicy)

	c = load(t, "USHER_UPSTREAM_URL=unix:/run/model.sock", "USHER_WORKER_URL=ANY", "USHER_REORDER_HOLD=250ms", "USHER_CORS_ORIGINS=https://a.example:8443, http://localhost:3000")
	require.Equal(t, Upstream{"unix", "/run/model.sock", "localhost", ""}, c.Upstream)
	require.Empty(t, c.WorkerURLs)
	require.Equal(t, 250*time.Millisecond, c.ReorderHold)
	require.Len(t, c.CORSOrigins, 2)

	text := publicKey(t)
	keys, err := crypto.ParsePublicKeys([]byte(text))
	require.NoError(t, err)
	key := keys[0]
	c, err = Load([]string{"USHER_ENDPOINT=E", "USHER_WORKER_URL=any", "USHER_PUBLIC_KEY=" + strings.ReplaceAll(text, "\n", `\n`), "USHER_PUBLIC_KEY_SHA256=" + key.Fingerprint().String()})
	require.NoError(t, err)
	require.Equal(t, key.Fingerprint(), *c.PublicKeyPin)
}

// Every wrong value has a message that names its variable and what is expected.
func TestFaults(t *testing.T) {
	cert, key := certificatePair(t)
	for setting, want := range map[string]string{
		"USHER_ENDPOINT= , ":                                 `USHER_ENDPOINT: is required: the name of the endpoint group`,
		"USHER_WORKER_URL=worker":                            `USHER_WORKER_URL: "worker" is not an address like http://203.0.113.7:3000`,
		"USHER_WORKER_URL=http://a?b":                        `USHER_WORKER_URL: "http://a?b" must not have a user, query or fragment`,
		"USHER_WORKER_URL=http://a:99999":                    `USHER_WORKER_URL: "http://a:99999" has no port from 1 to 65535`,
		"USHER_PUBLIC_KEY=hello":                             `USHER_PUBLIC_KEY: not a public key in PEM or OpenSSH form`,
		"USHER_PUBLIC_KEY_FILE=/x":                           `USHER_PUBLIC_KEY, USHER_PUBLIC_KEY_FILE, USHER_PUBLIC_KEY_URL: set only one of them`,
		"USHER_PUBLIC_KEY_REFRESH=5":                         `USHER_PUBLIC_KEY_REFRESH: "5" is not a duration; write it like 250ms or 5m`,
		"USHER_PUBLIC_KEY_REFRESH=0s":                        `USHER_PUBLIC_KEY_REFRESH: 0s is too short; it must be at least 1s`,
		"USHER_PUBLIC_KEY_GRACE=-1s":                         `USHER_PUBLIC_KEY_GRACE: -1s is too short; it must be at least 0s`,
		"USHER_PUBLIC_KEY_SHA256=abc":                        `USHER_PUBLIC_KEY_SHA256: must be a SHA-256 in 64 hex digits`,
		"USHER_PUBLIC_KEY_SHA256=" + strings.Repeat("0", 64): `not that of USHER_PUBLIC_KEY_SHA256`,
		"USHER_SIGNED_FIELDS=cost,prompt":                    `USHER_SIGNED_FIELDS: not a list of signed fields: "prompt" is neither auto nor one of cost, endpoint, reqnum, request_idx, url`,
		"USHER_UPSTREAM_URL=https://model":                   `USHER_UPSTREAM_URL: must be http://host:port or unix:/path`,
		"USHER_UPSTREAM_URL=unix:model.sock":                 `USHER_UPSTREAM_URL: "unix:model.sock" has no absolute path after unix:`,
		"USHER_UPSTREAM_AUTHORIZATION=Bearer secret\x01":     `USHER_UPSTREAM_AUTHORIZATION: contains a byte that is not allowed in a header`,
		"USHER_ROUTES=generate":                              `USHER_ROUTES: "generate" is not a plain path like /generate`,
		"USHER_ROUTES=/a/../b":                               `USHER_ROUTES: "/a/../b" is not a plain path like /generate`,
		"USHER_ROUTES=/a%20b":                                `USHER_ROUTES: "/a%20b" is not a plain path like /generate`,
		"USHER_ROUTES=/a,/a":                                 `USHER_ROUTES: "/a" is listed twice`,
		"USHER_ROUTES=,":                                     `USHER_ROUTES: lists no route`,
		"USHER_LISTEN_ADDR=3000":                             `USHER_LISTEN_ADDR: "3000" is not an address like :3000 or 127.0.0.1:3000`,
		"USHER_LISTEN_ADDR=:99999":                           `USHER_LISTEN_ADDR: ":99999" has no port from 0 to 65535`,
		"USHER_ADMIN_ADDR=:3000":                             `USHER_ADMIN_ADDR: is the same address as USHER_LISTEN_ADDR; set another one`,
		"USHER_TLS_CERT_FILE=" + cert:                        `USHER_TLS_KEY_FILE: is required with USHER_TLS_CERT_FILE`,
		"USHER_TLS_KEY_FILE=" + key:                          `USHER_TLS_CERT_FILE: is required with USHER_TLS_KEY_FILE`,
		"USHER_PPROF_ADDR=6060":                              `USHER_PPROF_ADDR: "6060" is not an address like :3000 or 127.0.0.1:3000`,
		"USHER_COST_POLICY=maybe":                            `USHER_COST_POLICY: "maybe" is not one of off, observe, enforce`,
		"USHER_REPLAY_WINDOW=0":                              `USHER_REPLAY_WINDOW: "0" is not a whole number from 1 to 16777216`,
		"USHER_REPLAY_WINDOW=1e3":                            `USHER_REPLAY_WINDOW: "1e3" is not a whole number from 1 to 16777216`,
		"USHER_MAX_CONCURRENCY=-1":                           `USHER_MAX_CONCURRENCY: "-1" is not a whole number from 0 to 1048576`,
		"USHER_QUEUE_CAPACITY=many":                          `USHER_QUEUE_CAPACITY: "many" is not a whole number from 0 to 1048576`,
		"USHER_QUEUE_BYTES=1MB":                              `USHER_QUEUE_BYTES: "1MB" is not a number of bytes from 0 to 9223372036854775807; write it like 16777216, 16MiB or 1GiB`,
		"USHER_QUEUE_TIMEOUT=0":                              `USHER_QUEUE_TIMEOUT: 0 is too short; it must be at least 1ms`,
		"USHER_REORDER_HOLD=300ms":                           `USHER_REORDER_HOLD: 300ms is above USHER_REORDER_MAX_HOLD, 250ms`,
		"USHER_REORDER_HOLD=-1ms":                            `USHER_REORDER_HOLD: "-1ms" is not auto, 0 or a duration like 50ms`,
		"USHER_REORDER_HOLD=fast":                            `USHER_REORDER_HOLD: "fast" is not auto, 0 or a duration like 50ms`,
		"USHER_REORDER_TARGET=1":                             `USHER_REORDER_TARGET: "1" is not a share above 0 and below 1, like 0.01`,
		"USHER_REORDER_TARGET=NaN":                           `USHER_REORDER_TARGET: "NaN" is not a share above 0 and below 1, like 0.01`,
		"USHER_MAX_BODY_BYTES=0":                             `USHER_MAX_BODY_BYTES: "0" is not a number of bytes from 1 to 1073741824; write it like 16777216, 16MiB or 1GiB`,
		"USHER_MAX_CONNECTIONS=0":                            `USHER_MAX_CONNECTIONS: "0" is not a whole number from 1 to 1048576`,
		"USHER_HEALTH_FAILURES=0":                            `USHER_HEALTH_FAILURES: "0" is not a whole number from 1 to 1000`,
		"USHER_HEALTH_PATH=health":                           `USHER_HEALTH_PATH: "health" is not a path like /health`,
		"USHER_CORS_ORIGINS=example.com":                     `USHER_CORS_ORIGINS: "example.com" is not an origin like https://app.example.com or https://*.example.com`,
		"USHER_TRUSTED_PROXIES=10.0.0.0/8,proxy":             `USHER_TRUSTED_PROXIES: "proxy" is not an address or a prefix like 10.0.0.0/8`,
		"USHER_CORS_ORIGINS=https://*":                       `USHER_CORS_ORIGINS: "https://*" is not an origin like https://app.example.com or https://*.example.com`,
		"USHER_CORS_ORIGINS=https://a.*.example":             `USHER_CORS_ORIGINS: "https://a.*.example" is not an origin like https://app.example.com or https://*.example.com`,
		"USHER_CORS_ORIGINS=https://A.example":               `USHER_CORS_ORIGINS: "https://A.example" is not an origin like https://app.example.com or https://*.example.com`,
		"USHER_CORS_ORIGINS=https://a.example/":              `USHER_CORS_ORIGINS: "https://a.example/" is not an origin like https://app.example.com or https://*.example.com`,
		"USHER_LOG_LEVEL=loud":                               `USHER_LOG_LEVEL: "loud" is not one of info, debug, warn, error`,
		"USHER_LOG_FORMAT=xml":                               `USHER_LOG_FORMAT: "xml" is not one of json, console`,
		"USE_SSL=maybe":                                      `USE_SSL: "maybe" is not true or false`,
		"WORKER_PORT=x":                                      `WORKER_PORT: "x" is not a whole number from 1 to 65535`,
	} {
		_, err := Load(append(base(publicKey(t)), setting))
		require.Error(t, err, setting)
		require.ErrorContains(t, err, want, setting)
		require.NotContains(t, err.Error(), "secret", setting)
	}
	for setting, want := range map[string]string{
		"USHER_PUBLIC_KEY_FILE=/nowhere/key.pem":        `USHER_PUBLIC_KEY_FILE: cannot be read: open /nowhere/key.pem: no such file or directory`,
		"USHER_PUBLIC_KEY_FILE=" + cert:                 `USHER_PUBLIC_KEY_FILE: not a public key in PEM or OpenSSH form`,
		"USHER_PUBLIC_KEY_URL=http://a.example/pubkey/": `USHER_PUBLIC_KEY_URL: key source: http://a.example/pubkey/: plain http is accepted from loopback only`,
		"REPORT_ADDR=http://a.example":                  `REPORT_ADDR: key source: http://a.example/pubkey/`,
		"NOTHING=":                                      `set exactly one of them, or REPORT_ADDR`,
	} {
		_, err := Load([]string{"USHER_ENDPOINT=E", "USHER_WORKER_URL=any", setting})
		require.ErrorContains(t, err, want, setting)
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	_, err := Load([]string{"USHER_QUEUE_TIMEOUT=30", "USHER_COST_POLICY=maybe", "USHER_REPLAY_WINDOW=x", "USHER_LOG_LEVEL=y"})
	var faults Faults
	require.True(t, errors.As(err, &faults))
	var named []string
	for _, f := range faults {
		named = append(named, f.Variable)
		require.NotEmpty(t, f.Problem)
	}
	require.ElementsMatch(t, []string{
		"USHER_ENDPOINT", "USHER_WORKER_URL", "USHER_PUBLIC_KEY, USHER_PUBLIC_KEY_FILE, USHER_PUBLIC_KEY_URL",
		"USHER_QUEUE_TIMEOUT", "USHER_COST_POLICY", "USHER_REPLAY_WINDOW", "USHER_LOG_LEVEL",
	}, named)
	require.Contains(t, err.Error(), "7 wrong or missing setting(s)")
}

// Each fault is reported once, under the variable that is wrong.
func TestFaultsOfFallbacks(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		named   []string
	}{
		{[]string{"USE_SSL=maybe"}, []string{"USE_SSL", "USHER_WORKER_URL"}},
		{[]string{"WORKER_PORT=99999"}, []string{"WORKER_PORT", "USHER_WORKER_URL"}},
		{[]string{"PUBLIC_IPADDR=203.0.113.7"}, []string{"USHER_WORKER_URL"}},
		{[]string{"PUBLIC_IPADDR=203.0.113.7", "VAST_TCP_PORT_3000=abc"}, []string{"VAST_TCP_PORT_3000"}},
		{[]string{"PUBLIC_IPADDR=203.0.113.7", "VAST_TCP_PORT_3000=0"}, []string{"VAST_TCP_PORT_3000"}},
		{[]string{"PUBLIC_IPADDR=a/b?c", "VAST_TCP_PORT_3000=1"}, []string{"PUBLIC_IPADDR"}},
		{[]string{"PUBLIC_IPADDR=user@host", "VAST_TCP_PORT_3000=1"}, []string{"PUBLIC_IPADDR"}},
		{[]string{"USHER_WORKER_URL=any", "USHER_REORDER_HOLD=50ms", "USHER_REORDER_MAX_HOLD=abc"}, []string{"USHER_REORDER_MAX_HOLD"}},
	} {
		_, err := Load(append([]string{"USHER_ENDPOINT=E", "USHER_PUBLIC_KEY=" + publicKey(t)}, tt.environ...))
		var faults Faults
		require.True(t, errors.As(err, &faults), tt.environ)
		var named []string
		for _, f := range faults {
			named = append(named, f.Variable)
		}
		require.ElementsMatch(t, tt.named, named, tt.environ)
	}
}

func TestWarnings(t *testing.T) {
	for setting, wants := range map[string][]string{
		"USHER_SIGNED_FIELDS=url":                          {"reqnum", "cost", "endpoint"},
		"USHER_SIGNED_FIELDS=cost,endpoint,reqnum":         {"good at every worker"},
		"USHER_SIGNED_FIELDS=cost,endpoint,reqnum,url|url": {"can be replayed", "understate", "every endpoint"},
		"USHER_WORKER_URL=any":                             {"USHER_WORKER_URL is any"},
		"USHER_REQNUM_RESET_AFTER=1":                       {"a single old ticket starts a new window"},
		"USHER_COST_POLICY=enforce":                        nil,
		"USHER_ENDPIONT=x":                                 {"USHER_ENDPIONT is not a setting of Usher; did you mean USHER_ENDPOINT?"},
		"USHER_COLOUR=x":                                   {"USHER_COLOUR is not a setting of Usher"},
	} {
		require.Len(t, load(t, setting).Warnings, len(wants), setting)
		for i, want := range wants {
			require.Contains(t, load(t, setting).Warnings[i], want, setting)
		}
	}
	unbound := load(t, "USHER_COST_POLICY=enforce", "USHER_ROUTES=/v1/embeddings,/v1/chat/completions,/tokenize,/api/chat").Warnings
	require.Len(t, unbound, 1)
	require.Contains(t, unbound[0], "does not check cost there: /v1/embeddings, /tokenize")
	require.Empty(t, load(t, "USHER_ROUTES=/tokenize").Warnings, "observe binds nothing anywhere")
	c, err := Load([]string{
		"USHER_ENDPOINT=E", "USHER_WORKER_URL=http://w", "USHER_PUBLIC_KEY_URL=http://a.example/", "USHER_PUBLIC_KEY_SHA256=" + strings.Repeat("0", 64),
	})
	require.NoError(t, err)
	require.Len(t, c.Warnings, 1)
	require.Contains(t, c.Warnings[0], "without TLS")
}

func TestInForceMasksSecrets(t *testing.T) {
	c := load(t, "USHER_UPSTREAM_AUTHORIZATION=Bearer hush", "USHER_QUEUE_TIMEOUT=7s")
	shown := ""
	for _, v := range c.InForce {
		shown += v.Name + "=" + v.Value + "\n"
	}
	require.NotContains(t, shown, "hush")
	require.NotContains(t, shown, "BEGIN PUBLIC KEY")
	require.Contains(t, shown, "USHER_UPSTREAM_AUTHORIZATION=(set)")
	require.Contains(t, shown, "USHER_PUBLIC_KEY=RSA-2048 ")
	require.Contains(t, shown, "USHER_QUEUE_TIMEOUT=7s")
	require.Contains(t, shown, "USHER_LISTEN_ADDR=:3000")
	require.Len(t, c.InForce, len(Settings()))
}

func TestAdminAddr(t *testing.T) {
	address, err := AdminAddr([]string{"USHER_ADMIN_ADDR=127.0.0.1:7", "USHER_QUEUE_TIMEOUT=rubbish"})
	require.NoError(t, err, "other faults do not matter to a health check")
	require.Equal(t, "127.0.0.1:7", address)
	address, err = AdminAddr(nil)
	require.NoError(t, err)
	require.Equal(t, ":9090", address)
	_, err = AdminAddr([]string{"USHER_ADMIN_ADDR=x"})
	require.Error(t, err)
}
