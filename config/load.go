package config

import (
	"errors"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/usher-sidecar/usher/crypto"
)

// Bounds that keep memory within reason, whatever is configured.
const (
	mostWindow      = 1 << 24
	mostBody        = 1 << 30
	mostQueue       = 1 << 20
	mostConnections = 1 << 20
)

// What part of the memory limit, if that is known, is used by default.
const (
	queueShare       = 4        // a quarter for bodies that wait
	bodiesShare      = 3        // eighths for all bodies together; two of the largest fit
	connectionMemory = 64 << 10 // for each connection; twice as much with TLS
)

// readKey reads where the public key comes from, and checks a key that needs no network.
func readKey(l *loader) {
	c, t := l.cfg, &l.text
	c.PublicKeyRefresh = l.duration("USHER_PUBLIC_KEY_REFRESH", t.PublicKeyRefresh, time.Second)
	c.PublicKeyGrace = l.duration("USHER_PUBLIC_KEY_GRACE", t.PublicKeyGrace, 0)
	if t.PublicKeySHA256 != "" {
		pin, err := crypto.ParseFingerprint(t.PublicKeySHA256)
		if err != nil {
			l.fault("USHER_PUBLIC_KEY_SHA256", "must be a SHA-256 in 64 hex digits")
		}
		c.PublicKeyPin = &pin
	}
	schema, err := crypto.ParseSchema(t.SignedFields)
	if err != nil {
		l.fault("USHER_SIGNED_FIELDS", "%s", err)
	}
	c.SignedFields = schema

	named := 0
	for _, source := range []string{t.PublicKey, t.PublicKeyFile, t.PublicKeyURL} {
		if source != "" {
			named++
		}
	}
	switch {
	case named > 1:
		l.fault("USHER_PUBLIC_KEY, USHER_PUBLIC_KEY_FILE, USHER_PUBLIC_KEY_URL", "set only one of them")
	case t.PublicKey != "":
		c.PublicKey = t.PublicKey
		inspectKey(l, "USHER_PUBLIC_KEY", []byte(c.PublicKey))
	case t.PublicKeyFile != "":
		c.PublicKeyFile = t.PublicKeyFile
		text, err := crypto.ReadRegular(t.PublicKeyFile)
		if err != nil {
			l.fault("USHER_PUBLIC_KEY_FILE", "cannot be read: %s", err)
			return
		}
		inspectKey(l, "USHER_PUBLIC_KEY_FILE", text)
	default:
		readKeyURLs(l)
	}
}

func inspectKey(l *loader, variable string, text []byte) {
	if _, err := crypto.ParsePinned(text, l.cfg.PublicKeyPin); errors.Is(err, crypto.ErrPinMismatch) {
		l.fault(variable, "%s, not that of USHER_PUBLIC_KEY_SHA256", err)
	} else if err != nil {
		l.fault(variable, "%s", err)
	}
}

func readKeyURLs(l *loader) {
	variable, urls := "USHER_PUBLIC_KEY_URL", list(l.text.PublicKeyURL)
	if len(urls) == 0 {
		variable = "REPORT_ADDR"
		l.mistaken(variable, l.vars["REPORT_ADDR"])
		for _, address := range list(l.vars["REPORT_ADDR"]) {
			urls = append(urls, strings.TrimSuffix(address, "/")+"/pubkey/")
		}
	}
	if len(urls) == 0 {
		l.fault("USHER_PUBLIC_KEY, USHER_PUBLIC_KEY_FILE, USHER_PUBLIC_KEY_URL", "set exactly one of them, or REPORT_ADDR")
	}
	for _, u := range urls {
		if err := crypto.AllowedKeyURL(u, l.cfg.PublicKeyPin != nil); err != nil {
			l.fault(variable, "%s", err)
		}
	}
	l.cfg.PublicKeyURLs = urls
}

// readListeners reads addresses and origins.
func readListeners(l *loader) {
	c, t := l.cfg, &l.text
	c.AdminAddr = l.address("USHER_ADMIN_ADDR", t.AdminAddr)
	if c.AdminAddr == c.ListenAddr && !strings.HasSuffix(c.AdminAddr, ":0") {
		l.fault("USHER_ADMIN_ADDR", "is the same address as USHER_LISTEN_ADDR; set another one")
	}
	if t.PprofAddr != "" {
		c.PprofAddr = l.address("USHER_PPROF_ADDR", t.PprofAddr)
	}
	c.CORSOrigins = list(t.CORSOrigins)
	for _, origin := range c.CORSOrigins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host ||
			strings.Contains(strings.TrimPrefix(u.Host, "*."), "*") || origin != strings.ToLower(origin)) {
			l.fault("USHER_CORS_ORIGINS", "%q is not an origin like https://app.example.com or https://*.example.com", origin)
		}
	}
}

// readUpstream reads where the model server is.
func readUpstream(l *loader) {
	c, t := l.cfg, &l.text
	if socket, ok := strings.CutPrefix(t.UpstreamURL, "unix:"); ok {
		socket = strings.TrimPrefix(socket, "//")
		if !strings.HasPrefix(socket, "/") {
			l.fault("USHER_UPSTREAM_URL", "%q has no absolute path after unix:", t.UpstreamURL)
		}
		c.Upstream = Upstream{Network: "unix", Address: socket, Host: "localhost"}
	} else if u, err := webURL(t.UpstreamURL); err != nil || u.Scheme != "http" {
		l.fault("USHER_UPSTREAM_URL", "must be http://host:port or unix:/path")
	} else {
		port := u.Port()
		if port == "" {
			port = "80"
		}
		c.Upstream = Upstream{
			Network: "tcp", Address: net.JoinHostPort(u.Hostname(), port), Host: u.Host,
			PathPrefix: strings.TrimSuffix(u.EscapedPath(), "/"),
		}
	}
	if !httpguts.ValidHeaderFieldValue(t.UpstreamAuthorization) {
		l.fault("USHER_UPSTREAM_AUTHORIZATION", "contains a byte that is not allowed in a header")
	} else if isQuoted(t.UpstreamAuthorization) {
		l.fault("USHER_UPSTREAM_AUTHORIZATION", "is in quotes, which an env file makes part of the value; remove them")
	}
	c.UpstreamAuthorization = t.UpstreamAuthorization
	c.HealthPath = readHealthPath(l)
}

// readHealthPath reads the model server's health path. Other workers take it from
// MODEL_HEALTH_ENDPOINT, as a path or a URL, so Usher does so too.
func readHealthPath(l *loader) string {
	variable, text := "USHER_HEALTH_PATH", l.text.HealthPath
	if text == "" {
		variable, text = "MODEL_HEALTH_ENDPOINT", l.vars["MODEL_HEALTH_ENDPOINT"]
		l.mistaken(variable, text)
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			text = u.RequestURI()
		}
	}
	switch {
	case text == "" && l.cfg.Preset != nil:
		return l.cfg.Preset.Health
	case text == "":
		return "/health"
	}
	if u, err := url.ParseRequestURI(text); err != nil || !strings.HasPrefix(text, "/") || u.Fragment != "" || strings.ContainsAny(text, " #") {
		l.fault(variable, "%q is not a path like /health", text)
	}
	return text
}

// readLimits reads counts and sizes.
func readLimits(l *loader) {
	c, t := l.cfg, &l.text
	c.CostPolicy = CostPolicy(l.choice("USHER_COST_POLICY", t.CostPolicy, string(CostOff), string(CostObserve), string(CostEnforce)))
	c.ReplayWindow = int(l.integer("USHER_REPLAY_WINDOW", t.ReplayWindow, 1, mostWindow))
	c.ReqnumResetAfter = int(l.integer("USHER_REQNUM_RESET_AFTER", t.ReqnumResetAfter, 0, mostWindow))
	c.StateFile = l.place("USHER_STATE_FILE", t.StateFile)
	readConcurrency(l)
	c.QueueCapacity = int(l.integer("USHER_QUEUE_CAPACITY", t.QueueCapacity, 0, mostQueue))
	c.QueueBytes = l.bytes("USHER_QUEUE_BYTES", t.QueueBytes, 0, math.MaxInt64)
	c.MaxBodyBytes = int(l.bytes("USHER_MAX_BODY_BYTES", t.MaxBodyBytes, 1, mostBody))
	c.MaxConnections = int(l.integer("USHER_MAX_CONNECTIONS", t.MaxConnections, 1, mostConnections))
	fitMemory(l)
	c.MaxConnectionsPerIP = int(l.integer("USHER_MAX_CONNECTIONS_PER_IP", t.MaxConnectionsPerIP, 0, mostConnections))
	for _, text := range list(t.TrustedProxies) {
		prefix, err := prefixOf(text)
		if err != nil {
			l.fault("USHER_TRUSTED_PROXIES", "%q is not an address or a prefix like 10.0.0.0/8", text)
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	c.HealthFailures = int(l.integer("USHER_HEALTH_FAILURES", t.HealthFailures, 1, 1000))
}

// fitMemory lowers defaults to fit into the memory limit.
func fitMemory(l *loader) {
	if l.memory == 0 {
		return
	}
	c := l.cfg
	c.BodiesBytes = max(1, l.memory/8*bodiesShare) // 0 is no limit
	if l.vars["USHER_QUEUE_BYTES"] == "" {
		c.QueueBytes = min(c.QueueBytes, l.memory/queueShare)
	}
	if l.vars["USHER_MAX_BODY_BYTES"] == "" {
		c.MaxBodyBytes = max(1, int(min(int64(c.MaxBodyBytes), c.BodiesBytes/2)))
	}
	if l.vars["USHER_MAX_CONNECTIONS"] == "" {
		fit := l.memory / connectionMemory
		if len(c.TLS.Pairs) > 0 {
			fit /= 2
		}
		c.MaxConnections = max(1, int(min(int64(c.MaxConnections), fit)))
	}
}

// readOrder reads how requests are held.
func readOrder(l *loader) {
	c, t := l.cfg, &l.text
	c.ReorderMaxHold = l.duration("USHER_REORDER_MAX_HOLD", t.ReorderMaxHold, 0)
	if strings.EqualFold(t.ReorderHold, "auto") {
		c.ReorderAuto = true
	} else if d, err := time.ParseDuration(t.ReorderHold); err != nil || d < 0 {
		l.fault("USHER_REORDER_HOLD", "%q is not auto, 0 or a duration like 50ms", t.ReorderHold)
	} else {
		c.ReorderHold = d
		// If the maximum itself is faulty, the hold cannot be compared with it.
		if !l.faulty("USHER_REORDER_MAX_HOLD") && d > c.ReorderMaxHold {
			l.fault("USHER_REORDER_HOLD", "%s is above USHER_REORDER_MAX_HOLD, %s", d, c.ReorderMaxHold)
		}
	}
	target, err := strconv.ParseFloat(t.ReorderTarget, 64)
	if err != nil || !(target > 0 && target < 1) {
		l.fault("USHER_REORDER_TARGET", "%q is not a share above 0 and below 1, like 0.01", t.ReorderTarget)
	}
	c.ReorderTarget = target
}

// readTiming reads the other durations.
func readTiming(l *loader) {
	c, t := l.cfg, &l.text
	const least = time.Millisecond
	c.QueueTimeout = l.duration("USHER_QUEUE_TIMEOUT", t.QueueTimeout, least)
	c.ReadTimeout = l.duration("USHER_READ_TIMEOUT", t.ReadTimeout, least)
	c.IdleTimeout = l.duration("USHER_IDLE_TIMEOUT", t.IdleTimeout, least)
	c.UpstreamIdleTimeout = l.duration("USHER_UPSTREAM_IDLE_TIMEOUT", t.UpstreamIdleTimeout, 0)
	c.ConnectTimeout = l.duration("USHER_CONNECT_TIMEOUT", t.ConnectTimeout, least)
	c.UpstreamTimeout = l.duration("USHER_UPSTREAM_TIMEOUT", t.UpstreamTimeout, least)
	c.StreamIdleTimeout = l.duration("USHER_STREAM_IDLE_TIMEOUT", t.StreamIdleTimeout, least)
	c.WriteTimeout = l.duration("USHER_WRITE_TIMEOUT", t.WriteTimeout, least)
	c.HealthInterval = l.duration("USHER_HEALTH_INTERVAL", t.HealthInterval, least)
	c.DrainDelay = l.duration("USHER_DRAIN_DELAY", t.DrainDelay, 0)
	c.DrainTimeout = l.duration("USHER_DRAIN_TIMEOUT", t.DrainTimeout, 0)
}

func readLogging(l *loader) {
	l.cfg.LogLevel = l.choice("USHER_LOG_LEVEL", l.text.LogLevel, "info", "debug", "warn", "error")
	l.cfg.LogFormat = l.choice("USHER_LOG_FORMAT", l.text.LogFormat, LogJSON, LogConsole)
	// The other OTEL_ variables are read by package trace and OpenTelemetry's SDK.
	l.cfg.Tracing = readTracing(l)
}

// readTracing reads whether an OTLP endpoint is set and not turned off. One without a
// scheme is a fault, because spans would go elsewhere.
func readTracing(l *loader) bool {
	if l.vars["OTEL_TRACES_EXPORTER"] == "none" || strings.EqualFold(l.vars["OTEL_SDK_DISABLED"], "true") {
		return false
	}
	set := false
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		text := l.vars[name]
		if text == "" {
			continue
		}
		set = true
		u, err := url.Parse(text)
		if !l.mistaken(name, text) && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
			l.fault(name, "%q is not an address like http://collector:4318", text)
		}
	}
	return set
}
