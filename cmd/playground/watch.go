package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func newClient(autoscaler string, tokens int) *client {
	return &client{
		autoscaler: autoscaler, endpoint: endpoint, apiKey: apiKey, tokens: tokens,
		http: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: 10 * time.Second}},
	}
}

// waitReady waits until Usher lets requests in.
func (w *world) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.usher.AdminAddr().String()+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("usher did not become ready: %w", ctx.Err())
		}
	}
}

// watch prints a line a second until everything sent was answered: over itself
// on a terminal, below one another elsewhere.
func (w *world) watch(t *tally, sent <-chan struct{}, out io.Writer, quiet bool) {
	if quiet {
		<-sent
		return
	}
	before, after := "", "\n"
	if terminal(out) {
		before, after = "\r\x1b[K", ""
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-sent:
			if terminal(out) {
				fmt.Fprintln(out)
			}
			return
		case <-tick.C:
			inFlight, _ := w.model.InFlight()
			fmt.Fprintf(out, "%s%s; %d in flight%s", before, t.summary(), inFlight, after)
		}
	}
}

// terminal tells whether out is a character device.
func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
