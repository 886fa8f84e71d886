package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/usher-sidecar/usher/config"
)

// drain makes this container's usher drain and waits for the end of it, so that a
// preStop hook needs no other tool in the image. How long it may take is up to the
// settings of usher and the orchestrator. Like healthcheck it reads only the admin
// address.
func drain(environ []string, stderr io.Writer) int {
	fail := func(problem any) int {
		_, _ = fmt.Fprintf(stderr, "usher drain: %v\n", problem)
		return exitFailed
	}
	address, err := config.AdminAddr(environ)
	if err != nil {
		return fail(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy, no timeout
	resp, err := client.Post("http://"+reachable(address)+"/drain", "", nil)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var ended struct{ Drained, Cut bool }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&ended); err != nil || !ended.Drained {
		return fail("whatever answers at " + address + " is not usher: " + resp.Status)
	}
	if ended.Cut {
		return fail("requests were cut at the end of the drain")
	}
	return exitOK
}
