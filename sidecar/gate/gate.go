// Package gate decides whether a request is admitted, and when: whether its ticket is
// for this worker, fresh, genuine and worth the work asked for, and whose turn it is.
// It knows neither HTTP nor the log.
package gate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// Errors of the gate itself; the others come from the packages that do the checks.
var (
	ErrCostExceeded  = errors.New("work exceeds the signed cost")
	ErrWorkNotStated = fmt.Errorf("%w: the request states no limit, and the cost leaves room for none", ErrCostExceeded)
)

// A Policy says what happens to a request that asks for more work than its ticket's
// cost. The zero value does not compare them.
type Policy uint8

// The policies.
const (
	Off     Policy = iota
	Observe        // noted in the account
	Enforce        // refused; if no limit is stated, one is inserted
)

// Config is what a Gate is made of. Keys, Ledger and Audience must be set. Without a
// Buffer the gate can judge tickets, but requests cannot wait.
type Config struct {
	Audience envelope.Audience
	Schema   crypto.Schema // which fields may be signed
	Keys     *crypto.KeySet
	Ledger   *replay.Ledger
	Buffer   *reorder.Buffer
	Policy   Policy
	Sessions *Sessions      // nil: there are none, and a request's session id is ignored
	Engine   dialect.Engine // whose members of a body state work; zero: those of any engine

	// Callbacks. None may block, and each may be nil.
	Meter   account.Meter
	Numbers Numbers
	// Accepted is called for each ticket that was verified and whose number was
	// reserved; the account then says what workload it counts for.
	Accepted func(*account.Request)
	Stale    func()             // all numbers are below the window: the autoscaler seems to have restarted its numbering
	Reset    func(reqnum int64) // the numbering was taken to have restarted
}

// Numbers is told what happens to good signed numbers.
type Numbers interface {
	Came(reqnum int64)   // it is reserved, and waits
	Ran(reqnum int64)    // it was admitted
	Restart(first int64) // the numbering restarted, with this number
}

// A Gate admits requests. Make it with New; safe for concurrent use.
type Gate struct {
	c             Config
	numbersSigned bool // by every alternative of the schema
	asksWork      bool // the work that requests ask for is needed, whatever the policy
	stale         staleRun
	fanout        fanout
}

// New makes a Gate.
func New(c Config) *Gate {
	return &Gate{
		c: c, numbersSigned: c.Schema.AlwaysSigns(crypto.FieldReqnum),
		asksWork: c.Engine != dialect.AnyEngine || c.Accepted != nil && !c.Schema.AlwaysSigns(crypto.FieldCost),
	}
}

// Install puts the keys of a source into force. It returns those that are new, and
// those that are no longer in the source but still accepted for their grace period.
// Windows are made first, because no ticket may be verified with a key that has none.
func (g *Gate) Install(keys []*crypto.Key) (came, left []*crypto.Key) {
	now := time.Now()
	prints := make([]replay.Fingerprint, len(keys), crypto.MaxAccepted+len(keys))
	for i, k := range keys {
		prints[i] = k.Fingerprint()
	}
	for _, print := range g.c.Keys.Accepted(now) { // those that are now in their grace
		if !slices.Contains(prints, print) {
			prints = append(prints, print)
		}
	}
	g.c.Ledger.Rotate(prints...)
	return g.c.Keys.Install(keys, now)
}

// Options returns how to open an envelope for this gate.
func (g *Gate) Options() envelope.Options {
	return envelope.Options{ReqnumOptional: !g.numbersSigned}
}

// WantsBody reports whether the body of a request with its ticket in the head should be
// read to find the work it asks for, and whether it must be: a request that needs it
// cannot pass if its body cannot be read.
func (g *Gate) WantsBody(api *dialect.API) (wants, needs bool) {
	known := len(api.Limits) > 0
	return known && g.c.Policy != Off, known && g.c.Policy == Enforce
}
