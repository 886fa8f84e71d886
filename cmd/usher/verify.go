package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/gate"
)

// An inspection makes the checks that the handler would make and prints a line for each.
// It continues after a failure, so that all causes are shown at once.
type inspection struct {
	cfg    *config.Config
	keys   *crypto.KeySet
	out    io.Writer
	failed bool
}

// verify explains whether a ticket or a request would pass.
func verify(environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cfg, err := config.LoadWithin(environ, limitMemory(memlimit.FromCgroup).limit) // as serve does
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher: %v\n", err)
		return exitFault
	}
	input, err := io.ReadAll(io.LimitReader(stdin, int64(cfg.MaxBodyBytes)+1))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher verify: %v\n", err)
		return exitFailed
	}
	in := &inspection{cfg: cfg, out: stdout}
	in.printSettings()
	in.inspect(input)
	if in.failed {
		in.say("This request would be refused.")
		return exitFailed
	}
	in.say("This request would pass if its number is fresh, which only the running usher knows.")
	return exitOK
}

func (in *inspection) say(format string, args ...any) {
	_, _ = fmt.Fprintf(in.out, format+"\n", args...)
}

// check prints the result of one check and reports whether it passed.
func (in *inspection) check(name string, err error, passed string) bool {
	if err != nil {
		in.failed = true
		in.say("  FAIL  %-10s %s", name, err)
		return false
	}
	in.say("  ok    %-10s %s", name, passed)
	return true
}

func (in *inspection) printSettings() {
	in.say("settings in force")
	for _, v := range in.cfg.InForce {
		switch v.Name {
		case "USHER_ENDPOINT", "USHER_WORKER_URL", "USHER_SIGNED_FIELDS", "USHER_COST_POLICY", "USHER_MAX_BODY_BYTES",
			"USHER_PUBLIC_KEY", "USHER_PUBLIC_KEY_FILE", "USHER_PUBLIC_KEY_URL":
			in.say("  %-24s %s", v.Name, v.Value)
		}
	}
	in.say("checks")
}

func (in *inspection) inspect(input []byte) {
	if len(input) > in.cfg.MaxBodyBytes {
		in.check("size", fmt.Errorf("more than %d bytes", in.cfg.MaxBodyBytes), "")
		return
	}
	in.check("size", nil, fmt.Sprintf("%d bytes", len(input)))
	g, keyFault := in.openGate()
	var (
		pass gate.Pass
		env  envelope.Envelope
	)
	pass.Begin(g, &account.Request{})
	token, inHead := headTicket(input)
	var err error
	if inHead {
		err = pass.OpenHeader(&env, token)
	} else {
		err = pass.Open(&env, bytes.Clone(input), dialect.Of(""))
	}
	var ticket *envelope.TicketError
	if errors.As(err, &ticket) {
		err = errors.New(strings.Join(ticket.Faults, "; "))
		in.check("json", nil, "one acceptable object")
		in.check("ticket", err, "")
		return
	}
	if !in.check("json", err, "one acceptable object") {
		return
	}
	t := &env.Ticket
	in.check("ticket", nil, fmt.Sprintf("%s: endpoint %q, url %q, reqnum %s, cost %s%s", env.Form,
		t.Endpoint, t.URL, orAbsent(t.Reqnum), t.Cost, requestIdx(t)))
	for step := range gate.Steps {
		switch err := step.Check(&pass, t); step {
		case gate.Audience:
			in.audience(t, err)
		case gate.Signature:
			in.signature(t, keyFault, err)
		}
	}
	if inHead {
		in.say("  note  %-10s not checked: the work asked for is in the body", "cost")
		return
	}
	in.cost(g, input)
}

func orAbsent(reqnum int64) string {
	if reqnum < 0 {
		return "absent"
	}
	return fmt.Sprint(reqnum)
}

func requestIdx(t *envelope.Ticket) string {
	if t.RequestIdx == "" {
		return ""
	}
	return ", request_idx " + t.RequestIdx
}

func (in *inspection) audience(t *envelope.Ticket, err error) {
	switch {
	case errors.Is(err, envelope.ErrURLMismatch):
		in.check("endpoint", nil, "is one of this worker's")
		in.check("url", fmt.Errorf("%q is not one of this worker's: %s", t.URL, strings.Join(in.cfg.WorkerURLs, ", ")), "")
	case errors.Is(err, envelope.ErrEndpointMismatch):
		in.check("endpoint", fmt.Errorf("%q is not one of this worker's: %s", t.Endpoint, strings.Join(in.cfg.Endpoints, ", ")), "")
	default:
		in.check("endpoint", err, "is one of this worker's")
		in.check("url", err, "is this worker's")
	}
}

// signature checks the signature. If it does not verify, it prints what the keys did
// sign, if that can be found out.
func (in *inspection) signature(t *envelope.Ticket, keyFault, err error) {
	now := time.Now()
	if keyFault != nil {
		in.check("key", keyFault, "")
		return
	}
	for _, k := range in.keys.Status(now).Keys {
		in.check("key", nil, k.Algorithm+" "+k.Fingerprint.String())
	}
	if t.Signature == nil {
		in.check("signature", errors.New("is empty or not standard base64"), "")
		return
	}
	if err == nil {
		proof, _ := in.keys.Verify(&t.Message, t.Signature, now)
		in.check("signature", nil, "verifies over "+crypto.FieldList(proof.Fields))
		return
	}
	in.check("signature", err, "")
	found := in.keys.Explain(&t.Message, t.Signature, now)
	for _, e := range found {
		in.say("        the key did sign: %s", e)
	}
	if len(found) == 0 {
		in.say("        no known combination of these fields and spellings fits: the ticket was changed, or another key signed it")
	}
}

// openGate makes the same gate as serve, except for the replay window, which only the
// running usher has, and reads the keys once. fault is why there are none.
func (in *inspection) openGate() (g *gate.Gate, fault error) {
	audience, err := envelope.NewAudience(in.cfg.Endpoints, in.cfg.WorkerURLs)
	if err != nil {
		return nil, err
	}
	ledger, err := replay.Open(replay.Config{Window: in.cfg.ReplayWindow, Keys: crypto.MaxAccepted})
	if err != nil {
		return nil, err
	}
	in.keys = crypto.NewKeySet(in.cfg.SignedFields, in.cfg.PublicKeyGrace)
	g = gate.New(gate.Config{Audience: audience, Schema: in.cfg.SignedFields, Keys: in.keys, Ledger: ledger, Policy: sidecar.CostPolicy(in.cfg), Engine: in.cfg.Dialect()})
	refresher, err := crypto.NewRefresher(crypto.RefresherConfig{
		Source: sidecar.KeySource(in.cfg), Pin: in.cfg.PublicKeyPin, Interval: in.cfg.PublicKeyRefresh,
		Install: func(keys []*crypto.Key) { g.Install(keys) },
		Report:  func(error) {},
	})
	if err != nil {
		return g, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return g, refresher.Load(ctx)
}

// cost compares the work with the ticket's cost for every route, because the body does
// not say which one was called.
func (in *inspection) cost(g *gate.Gate, input []byte) {
	if in.cfg.CostPolicy == config.CostOff {
		in.check("cost", nil, "is not checked (USHER_COST_POLICY=off)")
		return
	}
	for _, route := range in.cfg.Routes {
		if route.Method != http.MethodPost {
			continue // does not ask for work
		}
		var (
			pass gate.Pass
			env  envelope.Envelope
			seen account.Request
		)
		api := route.API()
		pass.Begin(g, &seen)
		err := pass.Open(&env, bytes.Clone(input), api)
		if err == nil {
			_, err = pass.Price(&env, api)
		}
		name := "cost " + route.String()
		if err == nil && seen.Exceeded {
			in.say("  note  %-10s the work asked for exceeds the cost, which is only counted (USHER_COST_POLICY=observe)", name)
			continue
		}
		in.check(name, err, "covers the work, as far as it is stated")
	}
}
