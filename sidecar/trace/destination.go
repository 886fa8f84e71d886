package trace

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A destination says where spans are sent, and how.
type destination struct {
	url     *url.URL
	header  http.Header
	gzip    bool
	timeout time.Duration // of one attempt
	tls     *tls.Config   // nil: the default
}

// Each variable of OTLP exporters has two names; the one for traces takes precedence. See
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
const (
	general   = "OTEL_EXPORTER_OTLP_"
	forTraces = general + "TRACES_"
)

// variable returns name and value of the variable that applies; "" if none is set.
func variable(name string) (set, value string) {
	for _, prefix := range []string{forTraces, general} {
		if value := strings.TrimSpace(os.Getenv(prefix + name)); value != "" {
			return prefix + name, value
		}
	}
	return "", ""
}

// readDestination reads the variables of the process. Its error names every wrong
// variable, and contains no value that may be secret.
func readDestination() (destination, error) {
	d := destination{url: &url.URL{Scheme: "https", Host: "localhost:4318", Path: "/v1/traces"}, header: http.Header{}, timeout: 10 * time.Second}
	var faults []error
	for _, part := range []struct {
		name string
		take func(name, value string) error
	}{
		{"ENDPOINT", d.takeEndpoint},
		{"HEADERS", d.takeHeaders},
		{"COMPRESSION", d.takeCompression},
		{"TIMEOUT", d.takeTimeout},
		{"CERTIFICATE", d.takeCertificate},
		{"CLIENT_CERTIFICATE", d.takeClientCertificate},
	} {
		name, value := variable(part.name)
		if value == "" {
			continue
		}
		if err := part.take(name, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	if d.tls != nil && d.url.Scheme == "http" {
		faults = append(faults, errors.New(general+"CERTIFICATE: the endpoint has no TLS"))
	}
	return d, errors.Join(faults...)
}

// takeEndpoint takes the endpoint for traces as it is, and appends a path to the general
// one.
func (d *destination) takeEndpoint(name, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("not an http:// or https:// address")
	}
	switch {
	case name == general+"ENDPOINT":
		u = u.JoinPath("v1", "traces")
	case u.Path == "":
		u.Path = "/"
	}
	d.url = u
	return nil
}

// takeHeaders takes name=value pairs separated by commas. The values are
// percent-encoded.
func (d *destination) takeHeaders(_, value string) error {
	for i, pair := range strings.Split(value, ",") {
		name, text, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		text, err := url.PathUnescape(strings.TrimSpace(text))
		if !ok || err != nil || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(text) {
			return fmt.Errorf("pair %d is not name=value", i+1)
		}
		d.header.Set(name, text)
	}
	return nil
}

func (d *destination) takeCompression(_, value string) error {
	d.gzip = value == "gzip"
	if !d.gzip && value != "none" {
		return fmt.Errorf("%q is neither gzip nor none", value)
	}
	return nil
}

func (d *destination) takeTimeout(_, value string) error {
	ms, err := strconv.ParseInt(value, 10, 32)
	if err != nil || ms <= 0 {
		return fmt.Errorf("%q is not a number of milliseconds", value)
	}
	d.timeout = time.Duration(ms) * time.Millisecond
	return nil
}

// takeCertificate takes a file of CA certificates for the collector's certificate.
func (d *destination) takeCertificate(_, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate", file)
	}
	d.withTLS().RootCAs = pool
	return nil
}

// takeClientCertificate takes the file of Usher's own certificate. Its key is in another
// file.
func (d *destination) takeClientCertificate(_, file string) error {
	name, key := variable("CLIENT_KEY")
	if name == "" {
		return errors.New("its CLIENT_KEY is not set")
	}
	pair, err := tls.LoadX509KeyPair(file, key)
	if err != nil {
		return err
	}
	d.withTLS().Certificates = []tls.Certificate{pair}
	return nil
}

func (d *destination) withTLS() *tls.Config {
	if d.tls == nil {
		d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return d.tls
}
