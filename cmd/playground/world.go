package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar"
	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/modelserver"
)

// The playground's autoscaler.
const (
	endpoint = "playground"
	apiKey   = "open-sesame"
	mtoken   = "the-workers-secret"
	// firstReqnum leaves room below it for tickets that are too old.
	firstReqnum = 1_000_000
)

// A world is everything but the clients.
type world struct {
	autoscaler *autoscaler.Autoscaler
	workers    []*worker
	outages    outages
	hangups    hangups
	rotations  atomic.Int64 // how many times the key has been rotated
	rotated    time.Time    // when it was last rotated
	closed     bool
}

// A worker is an Usher and the model server behind it.
type worker struct {
	url   string // public address, as signed
	model *modelserver.Server
	usher *sidecar.Sidecar
	cfg   *config.Config
	keys  atomic.Int64 // how many keys it has put into force
	stop  context.CancelFunc
	done  chan error
}

// build starts everything, in the order in which the parts need each other's addresses.
// If something fails, it stops what was started before.
func build(o options) (w *world, err error) {
	w = &world{hangups: hangups{seen: make(map[string]*sighting)}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	// The autoscaler signs tickets for the workers' addresses, which must be known before
	// Usher listens on them.
	var urls, addresses []string
	for range o.workers {
		address, err := loopback.Address()
		if err != nil {
			return w, err
		}
		urls, addresses = append(urls, "http://"+address), append(addresses, address)
	}
	if w.autoscaler, err = autoscaler.Start(autoscaler.Options{
		Endpoint: endpoint, APIKey: apiKey, Workers: urls, FirstReqnum: firstReqnum,
		MasterToken: mtoken, RequestIdx: true,
	}); err != nil {
		return w, err
	}
	for i, url := range urls {
		k := &worker{url: url}
		w.workers = append(w.workers, k)
		if err = k.start(o, i, w.autoscaler.URL(), w.hangups.Hook, addresses[i]); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (k *worker) start(o options, number int, scaler string, hook modelserver.Hook, public string) (err error) {
	var engine *modelserver.Engine
	if o.deaf > 0 {
		engine = &modelserver.Engine{DeafTo: o.deaf}
	}
	k.model = modelserver.New(modelserver.Options{
		Engine:           engine,
		TimeToFirstToken: o.ttft, PerToken: o.perToken, Jitter: 0.3,
		Seed: o.seed + uint64(number), Keep: -1, Handler: hook,
	})
	if err := k.model.Start(); err != nil {
		return err
	}
	if k.cfg, err = config.Load(k.settings(o, number, scaler, public)); err != nil {
		return err
	}
	if k.usher, err = sidecar.New(k.cfg, zap.New(&keyCount{k: k}), sidecar.Version{Number: "playground"}); err != nil {
		return err
	}
	if err := k.usher.Listen(); err != nil {
		return err
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.done = make(chan error, 1)
	go func() { k.done <- k.usher.Run(ctx) }()
	return nil
}

// settings returns Usher's environment. Outages are noticed and new keys fetched sooner
// than by default, since somebody is watching; slots and queue fit the traffic.
func (k *worker) settings(o options, number int, scaler, public string) []string {
	share := o.rps / float64(max(1, o.workers-1)) // one of several may be away
	service := o.ttft + time.Duration(o.tokens)*o.perToken
	slots := max(128, int(2*share*service.Seconds()))
	settings := []string{
		"USHER_ENDPOINT=" + endpoint,
		"USHER_WORKER_URL=" + k.url,
		"REPORT_ADDR=" + scaler,
		fmt.Sprintf("CONTAINER_ID=%d", number+1),
		"MASTER_TOKEN=" + mtoken,
		// Short, since somebody waits.
		`USHER_BENCHMARK_BODY={"inputs":"A story.","parameters":{"max_new_tokens":8}}`,
		"USHER_BENCHMARK_RUNS=1",
		"USHER_PUBLIC_KEY_REFRESH=1s",
		"USHER_UPSTREAM_URL=" + k.model.URL(),
		"USHER_ROUTES=/generate,/generate_stream,/v1/completions,/v1/chat/completions,/v1/responses,/v1/messages,/completion,/api/generate,/api/chat",
		"USHER_LISTEN_ADDR=" + public,
		"USHER_ADMIN_ADDR=127.0.0.1:0",
		"USHER_CONNECT_TIMEOUT=10s", // a busy machine is no fault
		"USHER_COST_POLICY=enforce",
		"USHER_HEALTH_INTERVAL=500ms",
		fmt.Sprintf("USHER_MAX_CONCURRENCY=%d", slots),
		fmt.Sprintf("USHER_QUEUE_CAPACITY=%d", max(512, slots)),
		"USHER_DRAIN_DELAY=0s", "USHER_DRAIN_TIMEOUT=5s",
	}
	if o.deaf > 0 {
		settings = append(settings, "USHER_ENGINE=vllm", "USHER_OPEN_ROUTES=none") // whose figures the toy has
	}
	return settings
}

// A keyCount is a log that counts the keys that Usher puts into force, and drops
// everything else.
type keyCount struct{ k *worker }

func (c *keyCount) Enabled(l zapcore.Level) bool               { return l >= zapcore.InfoLevel }
func (c *keyCount) With([]zapcore.Field) zapcore.Core          { return c }
func (c *keyCount) Write(zapcore.Entry, []zapcore.Field) error { return nil }
func (c *keyCount) Sync() error                                { return nil }

// Check implements zapcore.Core.
func (c *keyCount) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message == "public key in force" {
		c.k.keys.Add(1)
	}
	return ce
}

// waitReady waits until every Usher lets requests in, and the autoscaler knows it.
func (w *world) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, k := range w.workers {
		if err := waitHealthy(ctx, k.url); err != nil {
			return err
		}
	}
	for w.autoscaler.Ready() < len(w.workers) {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("not every worker has reported to the autoscaler: %w", err)
		}
	}
	return nil
}

// waitHealthy waits until a worker's /health answers 200.
func waitHealthy(ctx context.Context, url string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%s did not become ready: %w", url, err)
		}
	}
}

// close stops everything in the order of a real shutdown: Usher drains first.
func (w *world) close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	var faults []error
	for _, k := range w.workers {
		if k.stop != nil {
			k.stop()
			faults = append(faults, <-k.done)
		}
		if k.model != nil {
			k.model.Close()
		}
	}
	if w.autoscaler != nil {
		w.autoscaler.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	return errors.Join(faults...)
}
