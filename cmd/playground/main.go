// Command playground is Usher's world on one machine: an autoscaler that signs
// tickets, Usher in front of a toy model server, and a client that sends paced
// traffic. Usher is the real thing, over real sockets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar"
	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/modelserver"
)

// What the playground's autoscaler knows.
const (
	endpoint = "playground"
	apiKey   = "open-sesame"
)

type options struct {
	rps      float64
	duration time.Duration
	tokens   int
	ttft     time.Duration
	perToken time.Duration
	quiet    bool
}

func main() {
	var o options
	flag.Float64Var(&o.rps, "rps", 5, "requests a second; 0 sends none")
	flag.DurationVar(&o.duration, "for", 0, "how long to send; 0 runs until Ctrl-C")
	flag.IntVar(&o.tokens, "tokens", 24, "tokens a request asks for")
	flag.DurationVar(&o.ttft, "first-token", 120*time.Millisecond, "the toy model's time to the first token")
	flag.DurationVar(&o.perToken, "per-token", 25*time.Millisecond, "the toy model's time between two tokens")
	flag.BoolVar(&o.quiet, "quiet", false, "print the closing summary alone")
	flag.Parse()
	if flag.NArg() > 0 || o.rps < 0 || o.tokens < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := play(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		stop()
		os.Exit(1)
	}
}

// play runs the world until ctx or the duration ends. It returns an error when
// a request was not answered as it should be.
func play(ctx context.Context, o options, out io.Writer) (err error) {
	w, err := build(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.waitReady(ctx); err != nil {
		return err
	}
	if !o.quiet {
		w.describe(out)
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	c := newClient(w.autoscaler.URL(), o.tokens)
	defer c.http.CloseIdleConnections()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if o.rps > 0 {
			c.run(ctx, o.rps)
		} else {
			<-ctx.Done()
		}
	}()
	w.watch(&c.tally, sent, out, o.quiet)
	end := c.tally.summary()
	fmt.Fprintln(out, end)
	for _, failure := range end.failures {
		fmt.Fprintln(out, "  wrong:", failure)
	}
	if end.bad > 0 || o.duration > 0 && o.rps > 0 && end.good == 0 {
		return fmt.Errorf("%d of %d requests were not answered as they should be", end.bad, end.good+end.bad)
	}
	return nil
}

// A world is everything but the client.
type world struct {
	model      *modelserver.Server
	autoscaler *autoscaler.Autoscaler
	usher      *sidecar.Sidecar
	stop       context.CancelFunc
	done       chan error
}

// build starts model server, autoscaler and Usher, in the order in which they
// need to know one another's address. Usher's has to be known before it
// listens, since the tickets are signed for it.
func build(o options) (*world, error) {
	w := &world{}
	w.model = modelserver.New(modelserver.Options{
		TimeToFirstToken: o.ttft, PerToken: o.perToken, Jitter: 0.3, Seed: 1, Keep: -1,
	})
	if err := w.model.Start(); err != nil {
		return nil, err
	}
	public, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if w.autoscaler, err = autoscaler.Start(autoscaler.Options{
		Endpoint: endpoint, APIKey: apiKey, Workers: []string{"http://" + public},
	}); err != nil {
		return nil, err
	}
	cfg, err := config.Load([]string{
		"USHER_ENDPOINT=" + endpoint,
		"USHER_WORKER_URL=http://" + public,
		"USHER_PUBLIC_KEY_URL=" + w.autoscaler.URL() + "/pubkey/",
		"USHER_UPSTREAM_URL=" + w.model.URL(),
		"USHER_LISTEN_ADDR=" + public,
		"USHER_ADMIN_ADDR=127.0.0.1:0",
		"USHER_DRAIN_DELAY=0s", "USHER_DRAIN_TIMEOUT=5s",
	})
	if err != nil {
		return nil, err
	}
	if w.usher, err = sidecar.New(cfg, zap.NewNop(), sidecar.Version{Number: "playground"}); err != nil {
		return nil, err
	}
	if err := w.usher.Listen(); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.done = make(chan error, 1)
	go func() { w.done <- w.usher.Run(ctx) }()
	return w, nil
}

// freeAddress finds a port of loopback that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// close ends the world in the order of a real shutdown: Usher drains first.
func (w *world) close() error {
	w.stop()
	err := <-w.done
	w.autoscaler.Close()
	w.model.Close()
	return err
}

// describe prints where everything is and lines that work as they are pasted.
func (w *world) describe(out io.Writer) {
	scaler, worker := w.autoscaler.URL(), "http://"+w.usher.PublicAddr().String()
	fmt.Fprintf(out, `autoscaler    %s   (POST /route/, GET /pubkey/)
usher         %s   (what clients call)
usher admin   http://%s   (/readyz, /metrics, /)
model server  %s

Try it with curl:

  TICKET=$(curl -s %s/route/ -d '{"endpoint":"%s","api_key":"%s","cost":24}')
  curl -sN %s/generate_stream -d '{"auth_data":'"$TICKET"',"payload":{"inputs":"once upon a time","parameters":{"max_new_tokens":24}}}'

or with Python:

  %s

`, scaler, worker, w.usher.AdminAddr(), w.model.URL(), scaler, endpoint, apiKey, worker,
		pythonLine(scaler))
}

// pythonLine is one line for a shell that needs nothing but Python itself.
func pythonLine(scaler string) string {
	return `python3 -c '` + strings.Join([]string{
		`import json, urllib.request as u`,
		`call = lambda url, body: json.load(u.urlopen(u.Request(url, json.dumps(body).encode())))`,
		fmt.Sprintf(`t = call("%s/route/", {"endpoint": "%s", "api_key": "%s", "cost": 24})`, scaler, endpoint, apiKey),
		`print(call(t["url"] + "/generate", dict(t, inputs="once upon a time", parameters={"max_new_tokens": 24})))`,
	}, "; ") + `'`
}
