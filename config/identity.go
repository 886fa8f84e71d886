package config

import (
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// readIdentity reads who this worker is: endpoints and addresses.
func readIdentity(l *loader) {
	l.cfg.Endpoints = readEndpoints(l)
	ssl := useSSL(l)
	listen := l.text.ListenAddr
	if listen == "" {
		port := "3000"
		if p := l.vars["WORKER_PORT"]; p != "" {
			port = strconv.FormatInt(l.integer("WORKER_PORT", p, 1, math.MaxUint16), 10)
		}
		listen = ":" + port
	}
	l.cfg.ListenAddr = l.address("USHER_LISTEN_ADDR", listen)

	text := l.text.WorkerURL
	if strings.EqualFold(text, "any") {
		return
	}
	urls := list(text)
	if text == "" && toldByVast(l) {
		urls = vastURL(l, ssl)
	} else if len(urls) == 0 {
		l.fault("USHER_WORKER_URL", "is required: this worker's public address as the autoscaler signs it, or any (or set PUBLIC_IPADDR and VAST_TCP_PORT_<port>)")
	}
	for _, u := range urls {
		if _, err := webURL(u); err != nil {
			l.fault("USHER_WORKER_URL", "%s", err)
		}
	}
	l.cfg.WorkerURLs = urls
}

// readEndpoints reads the names of the endpoint group.
func readEndpoints(l *loader) []string {
	names := escapedList(l.text.Endpoint)
	if len(names) == 0 {
		l.fault("USHER_ENDPOINT", "is required: the name of the endpoint group")
	}
	if isQuoted(l.text.Endpoint) || slices.ContainsFunc(names, isQuoted) {
		l.fault("USHER_ENDPOINT", "%s is in quotes, which an env file makes part of the value; remove them", l.text.Endpoint)
	}
	return names
}

// vastPort returns the variable that holds a Vast instance's public port for the
// listening port.
func vastPort(l *loader) string {
	_, port, err := net.SplitHostPort(l.cfg.ListenAddr)
	if err != nil {
		return "" // a fault of its own
	}
	return "VAST_TCP_PORT_" + port
}

func toldByVast(l *loader) bool {
	return l.vars["PUBLIC_IPADDR"] != "" && l.vars[vastPort(l)] != ""
}

// vastURL makes this worker's address from a Vast instance's variables.
func vastURL(l *loader, ssl bool) []string {
	host, port := l.vars["PUBLIC_IPADDR"], vastPort(l)
	l.mistaken("PUBLIC_IPADDR", host)
	mapped := strconv.FormatInt(l.integer(port, l.vars[port], 1, math.MaxUint16), 10)
	scheme := "http"
	if ssl {
		scheme = "https"
	}
	address := (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, mapped)}).String()
	if u, err := webURL(address); err != nil || u.Hostname() != host {
		l.fault("PUBLIC_IPADDR", "%q is not the address of a host", host)
		return nil
	}
	return []string{address}
}

// useSSL reads USE_SSL, which the field's workers set.
func useSSL(l *loader) bool {
	switch strings.ToLower(l.vars["USE_SSL"]) {
	case "true", "1", "yes", "on":
		return true
	case "", "false", "0", "no", "off":
		return false
	}
	l.fault("USE_SSL", "%q is not true or false", l.vars["USE_SSL"])
	return false
}
