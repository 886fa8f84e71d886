package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// options are the flags' values.
type options struct {
	traffic
	servers
	quiet bool
}

// A traffic is what the clients send.
type traffic struct {
	rps      float64
	duration time.Duration // 0: until Ctrl-C
	tokens   int
	delay    network
	loss     share
	bad      share
	hangups  share
	seed     uint64
}

// servers are what the clients' requests meet with.
type servers struct {
	workers  int
	ttft     time.Duration
	perToken time.Duration
	deaf     int           // the model servers ignore one of this many hang-ups; 0: none
	outage   time.Duration // interval between outages; 0: none
}

// minOutage leaves a worker time to come back before the next outage, and tickets time
// to be used before their key has been rotated twice.
const minOutage = 2 * time.Second

const usage = `playground runs everything around Usher on one machine: an autoscaler that signs
tickets, Usher in front of a toy model server, and clients. It is the real Usher, and
real sockets. Only loopback is used, and Ctrl-C ends everything.

  go run ./cmd/playground                          look around
  go run ./cmd/playground -workers 3 -delay wan -loss 2% -bad 10% -outage 30s
                                                   something to watch
  go run ./cmd/playground -rps 20 -hangups 50% -deaf 10
                                                   orphans, after ten seconds
  go run ./cmd/playground -for 10s -bad 20%        a check: exit status 0 only if
                                                   every answer was correct

`

// parse reads the command line. Its error is flag.ErrHelp if help was asked for; the
// help or the fault has then been written to out.
func parse(args []string, out io.Writer) (options, error) {
	o := options{traffic: traffic{delay: network{name: "none"}}}
	set := flag.NewFlagSet("playground", flag.ContinueOnError)
	set.SetOutput(out)
	set.Usage = func() {
		fmt.Fprint(out, usage)
		set.PrintDefaults()
	}
	set.Float64Var(&o.rps, "rps", 5, "requests per second, including bad ones; 0 sends none")
	set.DurationVar(&o.duration, "for", 0, "how long to send, for example 10s (default: until Ctrl-C)")
	set.IntVar(&o.workers, "workers", 1, "workers, each with its own Usher, toy model server and numbering; at most 64")
	set.Var(&o.delay, "delay", "`network` between clients and workers: none, lan (0.5 ms + exp 1 ms), wan (20 ms + exp 30 ms), tail (10 ms + Pareto 1.5), or a duration d (d + exp d)")
	set.Var(&o.loss, "loss", "`share` of tickets that are never used, for example 2%")
	set.Var(&o.bad, "bad", "`share` of requests that misbehave, for example 10%: replayed, tampered with, sent to the wrong worker, late, lost, hung up on, …")
	set.Var(&o.hangups, "hangups", "`share` of requests whose clients leave midway, for example 20%")
	set.IntVar(&o.deaf, "deaf", 0, "the toy model servers report their load, and ignore one in `n` hang-ups, which show up as orphans on the status page (default: they ignore none, and report nothing)")
	set.DurationVar(&o.outage, "outage", 0, "interval at which a model server, or the autoscaler, dies and returns, and the key rotates; at least 2s (default: never)")
	set.Uint64Var(&o.seed, "seed", 1, "seed of everything that is random")
	set.IntVar(&o.tokens, "tokens", 24, "tokens that a request asks for")
	set.DurationVar(&o.ttft, "first-token", 120*time.Millisecond, "the toy model's time to the first token")
	set.DurationVar(&o.perToken, "per-token", 25*time.Millisecond, "the toy model's time between two tokens")
	set.BoolVar(&o.quiet, "quiet", false, "print only the closing summary")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if err := o.check(set.NArg()); err != nil {
		fmt.Fprintf(out, "playground: %v; see -h\n", err)
		return o, err
	}
	return o, nil
}

func (o options) check(arguments int) error {
	switch {
	case arguments > 0:
		return errors.New("there are only flags, no arguments")
	case !(o.rps >= 0 && o.rps <= 1e5): // NaN is neither
		return errors.New("-rps must be between 0 and 100000")
	case o.tokens < 1 || o.tokens > 10_000:
		return errors.New("-tokens must be between 1 and 10000")
	case o.workers < 1 || o.workers > 64:
		return errors.New("-workers must be between 1 and 64")
	case o.loss+o.bad+o.hangups > 1:
		return errors.New("-loss, -bad and -hangups together must not exceed 100%")
	case o.deaf < 0:
		return errors.New("-deaf must not be negative")
	case o.duration < 0 || o.ttft < 0 || o.perToken < 0:
		return errors.New("durations must not be negative")
	case o.outage != 0 && o.outage < minOutage:
		return fmt.Errorf("-outage must be at least %s", minOutage)
	}
	return nil
}

// A share is a number from 0 to 1; as a flag, 2% or 0.02.
type share float64

// String implements flag.Value.
func (s *share) String() string { return strconv.FormatFloat(100*float64(*s), 'g', -1, 64) + "%" }

// Set implements flag.Value.
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return errors.New("must be a share, for example 2% or 0.02")
	}
	*s = share(v)
	return nil
}

// A network draws how long a request takes to reach the worker. The models are those of
// docs/ordering.md.
type network struct {
	name string
	draw func(*rand.Rand) time.Duration // nil: no delay
}

// String implements flag.Value.
func (n *network) String() string { return n.name }

// Set implements flag.Value.
func (n *network) Set(text string) error {
	n.name = text
	switch text {
	case "none":
		n.draw = nil
	case "lan":
		n.draw = exponential(500*time.Microsecond, time.Millisecond)
	case "wan":
		n.draw = exponential(20*time.Millisecond, 30*time.Millisecond)
	case "tail":
		n.draw = pareto
	default:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > 10*time.Second {
			return errors.New("must be none, lan, wan, tail or a duration of at most 10s")
		}
		n.draw = exponential(d, d)
	}
	return nil
}
