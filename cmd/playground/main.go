// Command playground runs everything around Usher on one machine: an autoscaler that
// signs tickets, workers that are each an Usher in front of a toy model server, and
// clients that send traffic at a given rate, some of them misbehaving on request. It is
// the real Usher, over real sockets.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// Exit statuses: 0 if every request was answered correctly, 1 if one was not or
// something failed, 2 if the command line is wrong.
func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = play(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(1)
	}
}

// play runs the world until ctx or the duration ends. It returns an error if a request
// was not answered correctly.
func play(ctx context.Context, o options, out io.Writer) (err error) {
	w, err := build(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.waitReady(ctx); err != nil {
		return err
	}
	c, err := w.newClient(o)
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	if !o.quiet {
		w.describe(out)
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	if err := w.traffic(ctx, c, out); err != nil {
		return err
	}
	if err := w.close(); err != nil { // after which everything has been reported
		return err
	}
	reported := w.autoscaler.Reports()
	fmt.Fprintf(out, "reports to the autoscaler: %d on workers' status; requests ended: %s\n", reported.Status, ends(reported.Ended))
	if err := c.tally.reported(reported.Ended["Success"]); err != nil {
		return err
	}
	if o.outage > 0 {
		fmt.Fprintf(out, "outages: %d, key rotations: %d\n", w.outages.total(), w.rotations.Load())
	}
	return c.tally.report(out, o.duration > 0 && o.rps > 0)
}

// ends formats how many requests ended in which way.
func ends(count map[string]int) string {
	var parts []string
	for _, how := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[how], how))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// traffic sends requests and causes outages until ctx ends and everything has been
// answered. Its error is from an outage that did not end.
func (w *world) traffic(ctx context.Context, c *client, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	if c.options.rps > 0 {
		parts.Go(func() { c.run(ctx) })
	}
	if c.options.outage > 0 {
		parts.Go(func() {
			if err = w.disturb(ctx, c.options.outage); err != nil {
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		<-ctx.Done()
		parts.Wait()
		close(done)
	}()
	w.watch(&c.tally, done, out, c.options.quiet)
	return err
}

func (w *world) newClient(o options) (*client, error) {
	attacker, err := autoscaler.NewRSAKey()
	if err != nil {
		return nil, err
	}
	c := &client{
		autoscaler: w.autoscaler, options: o, window: int64(w.workers[0].cfg.ReplayWindow), attacker: attacker,
		outages: &w.outages, hangups: &w.hangups, rotations: &w.rotations, hangupPatience: hangupPatience,
		http: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: 10 * time.Second}},
	}
	for _, k := range w.workers {
		c.workers = append(c.workers, k.url)
	}
	return c, nil
}
