package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/usher-sidecar/usher/config"
)

// drain has the usher of this container drain, and waits for the end of it, so
// that a preStop hook needs no other tool in the image. The settings say how long
// that takes; the hook's own time-out is the orchestrator's. Like healthcheck it
// reads the admin address alone.
func drain(environ []string, stderr io.Writer) int {
	fail := func(problem any) int {
		_, _ = fmt.Fprintf(stderr, "usher drain: %v\n", problem)
		return exitFailed
	}
	address, err := config.AdminAddr(environ)
	if err != nil {
		return fail(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy, no time-out
	resp, err := client.Post("http://"+reachable(address)+"/drain", "", nil)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var ended struct{ Drained, Cut bool }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&ended); err != nil || !ended.Drained {
		return fail("no usher answers at " + address + ": " + resp.Status)
	}
	if ended.Cut {
		return fail("requests were cut at the end of the drain")
	}
	return exitOK
}
