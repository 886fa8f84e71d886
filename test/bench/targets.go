package main

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A kind is a kind of server that can be measured.
type kind int

const (
	direct kind = iota // no proxy: the model server itself
	nginx
	haproxy
	usher
	python
)

// A target is one column of the tables.
type target struct {
	kind   kind
	name   string
	binary string // Usher's
}

// Options of a start.
type options struct {
	env   []string                // Usher's settings, in addition to the usual ones
	cores string                  // see command
	key   string                  // speak TLS with the certificate of this name; "": plain text
	ready func(addr string) error // called when the load is ready to begin; may be nil
}

// systemPython is Debian's Python, which has the packages. A python3 found earlier on
// the path may not have them.
const systemPython = "/usr/bin/python3"

//go:embed worker.py
var workerSource []byte

// launch starts a target in front of the model server and returns the address it
// listens on. The process is nil for direct.
func (b *bench) launch(t target, o options) (addr string, p *process, err error) {
	if t.kind == direct {
		return b.modelAt, nil, nil
	}
	if addr, err = loopback.Address(); err != nil {
		return "", nil, err
	}
	c := command{addr: addr, log: b.path(strings.ToLower(t.name) + ".log"), cores: o.cores, secure: o.key != ""}
	switch t.kind {
	case nginx:
		err = os.WriteFile(b.path("nginx.conf"), []byte(b.nginxConf(addr, o.key)), 0o644)
		c.args = []string{"nginx", "-p", b.dir, "-c", b.path("nginx.conf")}
		c.ready = "/health"
	case haproxy:
		err = os.WriteFile(b.path("haproxy.cfg"), []byte(b.haproxyConf(addr, o.key)), 0o644)
		c.args = []string{"haproxy", "-db", "-f", b.path("haproxy.cfg")}
	case python:
		err = os.WriteFile(b.path("worker.py"), workerSource, 0o644)
		c.args = []string{systemPython, b.path("worker.py"), addr, "http://" + b.modelAt, b.key}
		c.ready = "/health"
	case usher:
		var admin string
		if admin, err = loopback.Address(); err == nil {
			c.args, c.env = []string{t.binary}, append(b.usherEnv(addr, admin), o.env...)
			if o.key != "" {
				c.env = append(c.env, "USHER_TLS_CERT_FILE="+b.path(o.key+".pem"), "USHER_TLS_KEY_FILE="+b.path(o.key+".key"))
			}
			c.ready = "/health"
		}
	}
	if err != nil {
		return "", nil, err
	}
	p, err = b.start(c)
	return addr, p, err
}

// usherEnv returns the settings that have no default, and lifts the limit of requests
// at the model server, because the peers have none. A connect may take as long as
// HAProxy's, since thousands of streams are opened at once on a busy machine.
func (b *bench) usherEnv(addr, admin string) []string {
	return []string{
		"USHER_ENDPOINT=" + endpoint, "USHER_WORKER_URL=" + workerURL,
		"USHER_PUBLIC_KEY_FILE=" + b.key,
		"USHER_UPSTREAM_URL=http://" + b.modelAt,
		"USHER_LISTEN_ADDR=" + addr, "USHER_ADMIN_ADDR=" + admin,
		"USHER_MAX_CONCURRENCY=0", "USHER_CONNECT_TIMEOUT=5s",
	}
}

// nginxConf configures a plain proxy that checks nothing: two workers, kept
// connections to the model server, no log. Streams are not buffered; bodies fit into
// memory.
func (b *bench) nginxConf(addr, key string) string {
	listen := addr
	if key != "" {
		listen = fmt.Sprintf("%s ssl; ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3", addr, b.path(key+".pem"), b.path(key+".key"))
	}
	return fmt.Sprintf(`
daemon off;
pid %[3]s/nginx.pid;
error_log %[3]s/nginx.error crit;
worker_processes 2;
worker_rlimit_nofile 20000;
events { worker_connections 20000; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 100000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path %[3]s/nginx-body;
  proxy_temp_path %[3]s/nginx-proxy;
  fastcgi_temp_path %[3]s/nginx-fastcgi;
  uwsgi_temp_path %[3]s/nginx-uwsgi;
  scgi_temp_path %[3]s/nginx-scgi;
  upstream model { server %[2]s; keepalive 128; keepalive_requests 100000000; keepalive_timeout 1h; }
  server {
    listen %[1]s;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout 1h;
    location / { proxy_pass http://model; }
    location /generate_stream { proxy_pass http://model; proxy_buffering off; }
  }
}
`, listen, b.modelAt, b.dir)
}

// haproxyConf configures a proxy that verifies a token in the head (RS256) and never
// looks at the body.
func (b *bench) haproxyConf(addr, key string) string {
	if key != "" {
		addr += " ssl alpn http/1.1 crt " + b.path(key+".both.pem")
	}
	return fmt.Sprintf(`
global
  maxconn 9900
  nbthread 2
defaults
  mode http
  maxconn 9900
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  option http-no-delay
frontend public
  bind %s
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.alg) -m str RS256 }
  http-request deny deny_status 401 unless { http_auth_bearer,jwt_verify(txn.alg,"%s") -m int 1 }
  default_backend model
backend model
  http-reuse always
  server model %s
`, addr, b.key, b.modelAt)
}
