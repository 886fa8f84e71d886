package crypto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// fetchTimeout bounds one attempt at one address.
const fetchTimeout = 5 * time.Second

// ErrSource is wrapped by the errors of a Source.
var ErrSource = errors.New("key source")

// A Source provides the text of the keys.
type Source interface {
	// fetch reads the text once.
	fetch(ctx context.Context) ([]byte, error)
	// pace says how often the Refresher reads it.
	pace(refresh time.Duration) pace
}

// A pace says how often a source is read.
type pace struct {
	every   time.Duration // after success; 0: never again
	backoff bool          // after a failure: sooner, with exponential backoff
}

// Inline is a bundle of keys given in the settings.
func Inline(text []byte) Source { return inline(text) }

type inline []byte

func (s inline) fetch(context.Context) ([]byte, error) { return s, nil }
func (s inline) pace(time.Duration) pace               { return pace{} }

// File is a file with keys, which is read once a second. That also notices files that
// are renamed, and symbolic links that are switched as Kubernetes does.
func File(path string) Source { return file(path) }

type file string

// filePoll is how often a file is read. It is small: a few hundred bytes.
const filePoll = time.Second

func (s file) fetch(context.Context) ([]byte, error) {
	text, err := ReadRegular(string(s))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return text, nil
}

func (s file) pace(time.Duration) pace { return pace{every: filePoll} }

// URLs are addresses that serve the keys. They are tried in turn until one serves good
// keys, which include the pinned one if there is a pin. A redirect is followed only to
// an address that AllowedKeyURL allows.
func URLs(addresses []string, pin *Fingerprint, transport http.RoundTripper) Source {
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.DisableKeepAlives = true // fetches are minutes apart
		transport = own
	}
	return &urls{addresses: addresses, pin: pin, client: http.Client{
		Timeout: fetchTimeout, Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 5 {
				return errors.New("too many redirects")
			}
			return AllowedKeyURL(req.URL.String(), pin != nil)
		},
	}}
}

type urls struct {
	addresses []string
	pin       *Fingerprint
	client    http.Client
}

func (s *urls) pace(refresh time.Duration) pace { return pace{every: refresh, backoff: true} }

func (s *urls) fetch(ctx context.Context) ([]byte, error) {
	var all error
	for _, address := range s.addresses {
		text, err := s.fetchOne(ctx, address)
		if err == nil {
			// A bad answer from one address must not hide a good key at the next.
			if _, err = ParsePinned(text, s.pin); err == nil {
				return text, nil
			}
		}
		all = errors.Join(all, fmt.Errorf("%w: %s: %w", ErrSource, address, err))
	}
	return nil, all
}

func (s *urls) fetchOne(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the caller names the address
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, MaxKeyBytes+1))
}

// AllowedKeyURL reports whether a key may be fetched from an address: by https, or
// by http from loopback, or by http from anywhere if a pin vouches for the key.
func AllowedKeyURL(address string, pinned bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%w: %q is not an address like https://autoscaler.example.com/pubkey/", ErrSource, address)
	}
	if u.Scheme == "http" && !pinned && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%w: %s: plain http is accepted from loopback only, or with the key pinned by USHER_PUBLIC_KEY_SHA256", ErrSource, address)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() && net.ParseIP(host) != nil
}
