// Package config turns environment variables into Usher's settings. It reports all
// faults at once, and warns of settings that weaken the protection.
package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/config/preset"
	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/crypto"
)

// CostPolicy says what happens to a request that asks for more work than the cost in
// its ticket.
type CostPolicy string

// The cost policies.
const (
	CostOff     CostPolicy = "off"     // not checked
	CostObserve CostPolicy = "observe" // counted and logged
	CostEnforce CostPolicy = "enforce" // refused
)

// Log formats.
const (
	LogJSON    = "json"
	LogConsole = "console"
)

// An Upstream is where the model server listens.
type Upstream struct {
	Network    string // "tcp" or "unix"
	Address    string // host:port, or a path
	Host       string // the Host header
	PathPrefix string // before every route; "" or "/x", no slash at its end
}

// A Config holds the settings in force. Make it with Load; it is not changed
// afterwards. Durations and counts are within the ranges of their variables.
type Config struct {
	Endpoints  []string
	WorkerURLs []string // empty: any

	// One of the three sources of the key is set.
	PublicKey        string
	PublicKeyFile    string
	PublicKeyURLs    []string
	PublicKeyRefresh time.Duration
	PublicKeyGrace   time.Duration
	PublicKeyPin     *crypto.Fingerprint // nil: none
	SignedFields     crypto.Schema

	Preset                *preset.Preset // of the model server; nil: it is not known which
	Upstream              Upstream
	UpstreamAuthorization string        // "": none
	Routes                []route.Route // served with a ticket
	OpenRoutes            []route.Route // served without one
	OpenConcurrency       int           // of these

	ListenAddr, AdminAddr string
	PprofAddr             string // "": no profiles
	TLS                   TLS

	CostPolicy       CostPolicy
	ReplayWindow     int
	ReqnumResetAfter int    // 0: never
	StateFile        string // "": memory only

	MaxConcurrency  int  // 0: no limit; with AutoConcurrency the most that it may become
	AutoConcurrency bool // it follows the load that the model server reports
	QueueCapacity   int
	QueueBytes      int64
	BodiesBytes     int64 // of all bodies in memory, derived from the memory limit; 0: no limit
	QueueTimeout    time.Duration
	ReorderAuto     bool
	ReorderHold     time.Duration // unless ReorderAuto; 0: no holding
	ReorderTarget   float64
	ReorderMaxHold  time.Duration

	MaxBodyBytes        int
	ReadTimeout         time.Duration
	IdleTimeout         time.Duration
	MaxConnections      int
	MaxConnectionsPerIP int            // 0: no limit
	TrustedProxies      []netip.Prefix // trusted to name the client

	UpstreamIdleTimeout time.Duration // 0: a new connection for each request

	ConnectTimeout    time.Duration
	UpstreamTimeout   time.Duration
	StreamIdleTimeout time.Duration
	WriteTimeout      time.Duration

	HealthPath     string
	HealthInterval time.Duration
	HealthFailures int

	Report    Report
	Benchmark Benchmark

	MaxSessions int // 0: there are none

	CORSOrigins  []string
	DrainDelay   time.Duration
	DrainTimeout time.Duration
	LogLevel     string // debug, info, warn or error
	LogFormat    string
	Tracing      bool // an OTLP endpoint is set, and tracing is not turned off

	// InForce lists the settings in force in the order of docs/settings.md; secrets
	// are masked and an inline key is shown by its fingerprint.
	InForce []Value
	// Warnings has one sentence for each setting that weakens the protection or has no
	// effect, and for each variable that looks misspelt.
	Warnings []string
}

// A Fault is one wrong or missing setting.
type Fault struct {
	Variable string
	Problem  string // a sentence without its full stop
}

// Faults are all that is wrong with an environment.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = "  " + fault.Variable + ": " + fault.Problem
	}
	return fmt.Sprintf("%d wrong or missing setting(s):\n%s", len(f), strings.Join(lines, "\n"))
}

// Load reads the settings from variables in the form of os.Environ. Its error is of
// type Faults and names everything that is wrong.
func Load(environ []string) (*Config, error) { return LoadWithin(environ, 0) }

// LoadWithin is Load with a memory limit in bytes (0: not known). Sizes and counts that
// are not set are lowered to fit.
func LoadWithin(environ []string, memory int64) (*Config, error) {
	vars := variables(environ)
	text, err := read(vars)
	if err != nil {
		return nil, Faults{{"USHER_*", err.Error()}}
	}
	l := &loader{vars: vars, links: serviceLinks(vars), text: text, memory: memory, cfg: &Config{}}
	l.mistakes()
	readEngine(l)
	readIdentity(l)
	readKey(l)
	readListeners(l)
	readTLS(l)
	readUpstream(l)
	readRoutes(l)
	readLimits(l)
	readSessions(l)
	readOrder(l)
	readTiming(l)
	readReport(l)
	readBenchmark(l)
	readLogging(l)
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	l.cfg.InForce = valuesInForce(l)
	l.cfg.Warnings = warnings(l)
	return l.cfg, nil
}

// AdminAddr reads only the admin listener's address.
func AdminAddr(environ []string) (string, error) {
	text, err := read(variables(environ))
	if err != nil {
		return "", Faults{{"USHER_ADMIN_ADDR", err.Error()}}
	}
	l := &loader{cfg: &Config{}}
	address := l.address("USHER_ADMIN_ADDR", text.AdminAddr)
	if len(l.faults) > 0 {
		return "", l.faults
	}
	return address, nil
}

// A Value is one setting as it is in force.
type Value struct {
	Name  string
	Value string
}
