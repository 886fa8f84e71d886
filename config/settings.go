package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v10"
)

// settings holds the variables as text, with their names, defaults and meanings. The
// table in docs/settings.md is generated from these tags. URLs, paths and addresses
// have form:"place", so that obvious mistakes in them are faults.
type settings struct {
	Endpoint  string `env:"USHER_ENDPOINT" shown:"required" doc:"endpoint group name(s); a comma inside a name is written \\,"`
	WorkerURL string `env:"USHER_WORKER_URL" form:"place" shown:"from PUBLIC_IPADDR, VAST_TCP_PORT_<port>, USE_SSL where set, else required" doc:"this worker's public address(es), as signed; any turns the check off, with a warning"`

	PublicKey        string `env:"USHER_PUBLIC_KEY" shown:"one of the three is required" doc:"the autoscaler's public key: PEM (key or certificate), or an OpenSSH line; a file or value may hold up to 8 keys, all of which are accepted; \\n stands for a line break"`
	PublicKeyFile    string `env:"USHER_PUBLIC_KEY_FILE" form:"place" shown:"–" doc:"a file that contains it, of at most 1 MiB; reloaded when it changes"`
	PublicKeyURL     string `env:"USHER_PUBLIC_KEY_URL" form:"place" shown:"/pubkey/ under each address of REPORT_ADDR where that is set" doc:"address(es) that serve it, tried in turn; https, or http to loopback"`
	PublicKeyRefresh string `env:"USHER_PUBLIC_KEY_REFRESH" envDefault:"5m" doc:"how often the URL is fetched"`
	PublicKeyGrace   string `env:"USHER_PUBLIC_KEY_GRACE" envDefault:"10m" doc:"how long a key is still accepted after it was removed from its source; 0: not at all"`
	PublicKeySHA256  string `env:"USHER_PUBLIC_KEY_SHA256" shown:"–" doc:"pins the key: the hex SHA-256 of its DER SubjectPublicKeyInfo; no other key is accepted"`
	SignedFields     string `env:"USHER_SIGNED_FIELDS" envDefault:"auto" doc:"what is signed: alternatives separated by |, each a comma-separated list of fields in the order of the message"`

	Engine                string `env:"USHER_ENGINE" shown:"–" doc:"the model server, by name: vllm, sglang, tgi, llamacpp or ollama; sets port, routes and health path unless their own variables do (docs/engines.md)"`
	UpstreamURL           string `env:"USHER_UPSTREAM_URL" form:"place" envDefault:"http://127.0.0.1:5001" shown:"http://127.0.0.1:5001 (USHER_ENGINE: its port)" doc:"the model server: http://host:port, optionally with a path prefix, or unix:/path"`
	UpstreamAuthorization string `env:"USHER_UPSTREAM_AUTHORIZATION" shown:"–" doc:"sent to the model server as Authorization, in place of the client's"`
	Routes                string `env:"USHER_ROUTES" form:"place" envDefault:"/generate,/generate_stream,/v1/completions,/v1/chat/completions" shown:"/generate,/generate_stream,/v1/completions,/v1/chat/completions (USHER_ENGINE: its own)" doc:"routes that need a ticket: [METHOD ]/path, by default POST; /v1/* is everything below /v1/"`
	OpenRoutes            string `env:"USHER_OPEN_ROUTES" form:"place" shown:"– (USHER_ENGINE: its own)" doc:"routes that need no ticket, for GET and HEAD without a body, like /v1/models,/api/tags; their requests bypass the queue; none: no such routes, not even those of USHER_ENGINE"`
	OpenConcurrency       string `env:"USHER_OPEN_CONCURRENCY" envDefault:"8" doc:"requests of open routes at the model server at once; more are answered with 429"`

	ListenAddr string `env:"USHER_LISTEN_ADDR" form:"place" shown:":3000 (WORKER_PORT where set)" doc:"public listener"`
	AdminAddr  string `env:"USHER_ADMIN_ADDR" form:"place" envDefault:":9090" doc:"health, metrics, summary, drain; keep it off the public network"`
	PprofAddr  string `env:"USHER_PPROF_ADDR" form:"place" shown:"–" doc:"serves Go's profiles under /debug/pprof/, for example 127.0.0.1:6060; keep it private"`

	TLSCertFile      string `env:"USHER_TLS_CERT_FILE" form:"place" shown:"– (/etc/instance.crt where USE_SSL=true)" doc:"certificate chain in PEM; TLS 1.2 and up; reloaded when it changes; may be two, separated by a comma, an ECDSA and an RSA one, chosen by what the client supports; an OCSP response in DER beside it (.ocsp) is stapled"`
	TLSKeyFile       string `env:"USHER_TLS_KEY_FILE" form:"place" shown:"– (/etc/instance.key where USE_SSL=true)" doc:"its private key; for two certificates, their keys in the same order"`
	TLSClientCAFile  string `env:"USHER_TLS_CLIENT_CA_FILE" form:"place" shown:"–" doc:"certificates in PEM; clients must present a certificate that one of these has signed (for /health and /ping as well); reloaded when it changes"`
	HandshakeTimeout string `env:"USHER_HANDSHAKE_TIMEOUT" envDefault:"10s" doc:"time limit of a TLS handshake"`

	CostPolicy       string `env:"USHER_COST_POLICY" envDefault:"observe" doc:"off; observe: count and log requests that exceed their cost; enforce: refuse them, and insert a limit where a request states none"`
	ReplayWindow     string `env:"USHER_REPLAY_WINDOW" envDefault:"8192" doc:"how many numbers, from the highest one down, are still accepted; 1 to 16777216"`
	ReqnumResetAfter string `env:"USHER_REQNUM_RESET_AFTER" envDefault:"0" doc:"start a new window after this many correctly signed, increasing numbers in a row that are below it; 0: never"`
	StateFile        string `env:"USHER_STATE_FILE" form:"place" shown:"–" doc:"keeps the window across restarts"`

	MaxConcurrency string `env:"USHER_MAX_CONCURRENCY" envDefault:"128" shown:"128; auto if USHER_ENGINE reports its load" doc:"requests at the model server at once; 0: no limit; auto: as many as it runs without a queue of its own (docs/engines.md)"`
	QueueCapacity  string `env:"USHER_QUEUE_CAPACITY" envDefault:"512" doc:"how many requests may wait, including held ones; 0: none, and no holding"`
	QueueBytes     string `env:"USHER_QUEUE_BYTES" envDefault:"268435456" shown:"268435456, or a quarter of the memory limit if that is less" doc:"total bytes of the bodies that wait, like 256MiB; a body that is passed on as it arrives is read, while it waits, only until it takes as much as it leaves free"`
	QueueTimeout   string `env:"USHER_QUEUE_TIMEOUT" envDefault:"30s" doc:"longest wait in the queue"`
	ReorderHold    string `env:"USHER_REORDER_HOLD" envDefault:"auto" doc:"how long a request after a missing number is held: auto, a duration, or 0 for not at all"`
	ReorderTarget  string `env:"USHER_REORDER_TARGET" envDefault:"0.01" doc:"auto: the share of requests that may be admitted out of order; above 0, below 1"`
	ReorderMaxHold string `env:"USHER_REORDER_MAX_HOLD" envDefault:"250ms" doc:"the hold is never longer"`

	MaxBodyBytes        string `env:"USHER_MAX_BODY_BYTES" envDefault:"16777216" shown:"16777216, or three sixteenths of the memory limit if that is less" doc:"largest request body, like 16MiB; 1 to 1073741824"`
	ReadTimeout         string `env:"USHER_READ_TIMEOUT" envDefault:"30s" doc:"time limit for reading head and body; for a body that is passed on as it arrives, only time spent waiting for the client counts"`
	IdleTimeout         string `env:"USHER_IDLE_TIMEOUT" envDefault:"75s" doc:"an idle client connection is closed after this time"`
	MaxConnections      string `env:"USHER_MAX_CONNECTIONS" envDefault:"16384" shown:"16384, or one for each 64 KiB (with TLS 128 KiB) of the memory limit if that is fewer" doc:"client connections at once, lowered with a warning if the descriptor limit allows fewer; when all are taken, an idle one is closed for a new one"`
	MaxConnectionsPerIP string `env:"USHER_MAX_CONNECTIONS_PER_IP" envDefault:"0" doc:"connections from one address (IPv6: one /64); more are reset; 0: no limit"`
	TrustedProxies      string `env:"USHER_TRUSTED_PROXIES" form:"place" shown:"–" doc:"addresses or prefixes of proxies, like 10.0.0.0/8, whose X-Forwarded-For or PROXY header names the client, for the log and for the limit per address; from anyone else the former is ignored, and the latter answered with 400"`

	UpstreamIdleTimeout string `env:"USHER_UPSTREAM_IDLE_TIMEOUT" envDefault:"4s" doc:"how long an idle connection to the model server is kept, or less if its Keep-Alive says so; 0: each request gets a new one"`

	ConnectTimeout    string `env:"USHER_CONNECT_TIMEOUT" envDefault:"2s" doc:"time limit for connecting to the model server"`
	UpstreamTimeout   string `env:"USHER_UPSTREAM_TIMEOUT" envDefault:"10m" doc:"time limit for the model server's response head"`
	StreamIdleTimeout string `env:"USHER_STREAM_IDLE_TIMEOUT" envDefault:"5m" doc:"longest silence of the model server within a response"`
	WriteTimeout      string `env:"USHER_WRITE_TIMEOUT" envDefault:"60s" doc:"a client that reads nothing for this long, or does not respond to keep-alive probes, is cut off"`

	HealthPath     string `env:"USHER_HEALTH_PATH" form:"place" shown:"/health (MODEL_HEALTH_ENDPOINT where set; USHER_ENGINE: its own)" doc:"path of the model server's health probe; 404 counts as healthy"`
	HealthInterval string `env:"USHER_HEALTH_INTERVAL" envDefault:"5s" doc:"time between two probes; every second while it is unhealthy, or after a probe or request failed"`
	HealthFailures string `env:"USHER_HEALTH_FAILURES" envDefault:"3" doc:"failed probes in a row that make it unhealthy"`

	Report               string `env:"USHER_REPORT" envDefault:"auto" doc:"reports to the autoscaler: auto (on if REPORT_ADDR and CONTAINER_ID are set; they include MASTER_TOKEN), off, or the generation of its API: 2026, 2024"`
	ReportInsecure       string `env:"USHER_REPORT_INSECURE" envDefault:"false" doc:"true: reports, and MASTER_TOKEN in them, may go to a plain http address that is not loopback"`
	Benchmark            string `env:"USHER_BENCHMARK" shown:"off; auto if reports are on" doc:"how fast this worker is: a workload per second, or a path on which it is measured at start, before requests are accepted; auto: the first that is served of /generate, /v1/completions, /v1/chat/completions, /api/generate"`
	BenchmarkBody        string `env:"USHER_BENCHMARK_BODY" shown:"a prompt of random words, 256 tokens" doc:"body of each benchmark request: JSON, or @ and a file"`
	BenchmarkRuns        string `env:"USHER_BENCHMARK_RUNS" envDefault:"8" doc:"the best of these runs counts; 1 to 1000"`
	BenchmarkConcurrency string `env:"USHER_BENCHMARK_CONCURRENCY" envDefault:"10" doc:"requests of a run, all at once; at most USHER_MAX_CONCURRENCY"`
	BenchmarkFile        string `env:"USHER_BENCHMARK_FILE" form:"place" shown:"–" doc:"keeps the result across restarts; the Python worker's .has_benchmark can be used"`

	MaxSessions string `env:"USHER_MAX_SESSIONS" envDefault:"0" doc:"sessions that clients may have open at once, on /session/create, get, health and end; 0: none, and these paths are not served"`

	CORSOrigins  string `env:"USHER_CORS_ORIGINS" form:"place" shown:"–" doc:"origins whose pages may send requests, or *; https://*.example.com stands for all subdomains"`
	DrainDelay   string `env:"USHER_DRAIN_DELAY" envDefault:"5s" doc:"how long requests are still served after SIGTERM"`
	DrainTimeout string `env:"USHER_DRAIN_TIMEOUT" envDefault:"120s" doc:"how long requests in flight may then take to finish"`
	LogLevel     string `env:"USHER_LOG_LEVEL" envDefault:"info" doc:"debug, info, warn, error"`
	LogFormat    string `env:"USHER_LOG_FORMAT" envDefault:"json" doc:"json, console"`
}

// A Setting is one variable as docs/settings.md shows it.
type Setting struct {
	Name    string
	Default string // in force if it is not set
	Doc     string
}

// Settings lists every variable, in the order of docs/settings.md.
func Settings() []Setting {
	t := reflect.TypeFor[settings]()
	list := make([]Setting, t.NumField())
	for i := range list {
		tag := t.Field(i).Tag
		shown := tag.Get("shown")
		if shown == "" {
			shown = tag.Get("envDefault")
		}
		list[i] = Setting{tag.Get("env"), shown, tag.Get("doc")}
	}
	return list
}

// WriteMarkdown prints the table of settings.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | |\n| --- | --- | --- |\n")
	for _, s := range Settings() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, cell(s.Default), cell(s.Doc))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell escapes a text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`, "_", `\_`).Replace(text)
}

// read fills the settings from variables.
func read(variables map[string]string) (settings, error) {
	var s settings
	err := env.ParseWithOptions(&s, env.Options{Environment: variables})
	return s, err
}

// variables turns the form of os.Environ into a map. Variables that are set but empty,
// as compose files leave them, count as unset.
func variables(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, pair := range environ {
		name, value, ok := strings.Cut(pair, "=")
		if value = strings.TrimSpace(value); ok && value != "" {
			m[name] = value
		}
	}
	return m
}
