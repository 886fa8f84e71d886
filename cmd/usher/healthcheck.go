package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/config"
)

// healthcheckTimeout is well below the usual interval of container health checks.
const healthcheckTimeout = 3 * time.Second

// healthcheck asks this container's usher whether it is ready. It reads only the admin
// address, so that it works without the other settings in its environment.
func healthcheck(environ []string, stderr io.Writer) int {
	address, err := config.AdminAddr(environ)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher healthcheck: %v\n", err)
		return exitFailed
	}
	client := http.Client{Timeout: healthcheckTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + reachable(address) + "/readyz")
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher healthcheck: %v\n", err)
		return exitFailed
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return exitOK
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	_, _ = fmt.Fprintf(stderr, "usher healthcheck: not ready: %s\n", strings.TrimSpace(string(answer)))
	return exitFailed
}

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
