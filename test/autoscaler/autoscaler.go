// Package autoscaler is a toy autoscaler for tests and the playground. It does what the
// documentation of signed routing says an autoscaler does.
//
//	POST /route/   {"endpoint", "api_key", "cost"} → a ticket for a ready worker
//	GET  /pubkey/  the public key, PEM
//	POST /worker_status/, /delete_requests/
//	               reports of a worker's state and of its ended requests
//
// Its canonical message is implemented independently of Usher's, so that the two check
// each other.
package autoscaler

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/loopback"
)

// Options are the options of an Autoscaler. Workers and Endpoint are required.
type Options struct {
	Address  string // default: a free port on loopback
	Endpoint string
	APIKey   string   // of the account; default "toy-key"
	Workers  []string // public URLs of the group's workers, as signed
	// Health returns the URL that says whether a worker is ready; nil: /health at its
	// public URL.
	Health func(worker string) string

	// MasterToken must come with the workers' reports. If it is set, workers are not
	// asked: as with a real autoscaler, a worker is ready when it reports so. A worker
	// that was silent for Silence (default 30s) is forgotten.
	MasterToken string
	Silence     time.Duration

	Key         *Key     // default: a new RSA key
	Fields      []string // signed fields, see Claims
	RequestIdx  bool     // return and sign request_idx, as newer autoscalers do
	IntCost     bool     // write and sign a whole cost as an integer
	FirstReqnum int64    // of each worker

	HealthTimeout time.Duration // default 10s: a busy machine is no dead worker
	HealthCache   time.Duration // how long a worker's answer is valid; default 200ms
	Client        *http.Client  // for asking the workers; default: a client of its own
}

// An Autoscaler routes requests to workers. It is made with Start or New. Its methods
// are safe for concurrent use.
type Autoscaler struct {
	options Options
	client  *http.Client
	server  *http.Server
	addr    net.Addr
	serving sync.WaitGroup

	mu         sync.Mutex
	key        *Key
	published  *Key // served by /pubkey/ if that is not the current key; otherwise nil
	workers    []*worker
	turn       int // of the round robin
	requestIdx int64
	reports    Reports
}

// A worker is one worker of the group and what is known about it.
type worker struct {
	url, health string // never change

	// Under Autoscaler.mu.
	next  int64 // reqnum
	state string
	asked time.Time

	report report
}

// Start makes an autoscaler that serves in the background until Close.
func Start(o Options) (*Autoscaler, error) {
	a, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := a.serve(); err != nil {
		return nil, err
	}
	return a, nil
}

// New makes an autoscaler that issues tickets but does not serve.
func New(o Options) (*Autoscaler, error) {
	if o.Endpoint == "" || len(o.Workers) == 0 {
		return nil, errors.New("autoscaler: an endpoint and a worker are needed")
	}
	if o.Address == "" {
		o.Address = net.JoinHostPort(loopback.Host(), "0")
	}
	if o.APIKey == "" {
		o.APIKey = "toy-key"
	}
	if o.Silence == 0 {
		o.Silence = 30 * time.Second
	}
	if o.HealthTimeout == 0 {
		o.HealthTimeout = 10 * time.Second
	}
	if o.HealthCache == 0 {
		o.HealthCache = 200 * time.Millisecond
	}
	a := &Autoscaler{options: o, client: o.Client, key: o.Key, reports: Reports{Ended: map[string]int{}}}
	if a.client == nil {
		a.client = &http.Client{Transport: &http.Transport{}}
	}
	if a.key == nil {
		key, err := NewRSAKey()
		if err != nil {
			return nil, err
		}
		a.key = key
	}
	for _, url := range o.Workers {
		w := &worker{url: url, health: url + "/health", next: o.FirstReqnum}
		if o.Health != nil {
			w.health = o.Health(url)
		}
		a.workers = append(a.workers, w)
	}
	return a, nil
}

func (a *Autoscaler) listen() (net.Listener, error) {
	if a.addr == nil {
		return net.Listen("tcp", a.options.Address)
	}
	return loopback.ListenAt(a.addr.String())
}

func (a *Autoscaler) serve() error {
	ln, err := a.listen()
	if err != nil {
		return fmt.Errorf("autoscaler: %w", err)
	}
	if a.addr == nil {
		a.addr = ln.Addr()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /route/{$}", a.route)
	mux.HandleFunc("GET /pubkey/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = io.WriteString(w, a.publicKey().PEM())
	})
	if a.options.MasterToken != "" {
		mux.HandleFunc("POST /worker_status/{$}", a.workerStatus)
		mux.HandleFunc("POST /delete_requests/{$}", a.deleteRequests)
	}
	a.server = &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	a.serving.Go(func() { _ = a.server.Serve(ln) })
	return nil
}

// URL returns the autoscaler's URL without a slash at its end. The autoscaler must have
// been made with Start.
func (a *Autoscaler) URL() string { return "http://" + a.addr.String() }

// Stop stops serving. The state is kept for Resume.
func (a *Autoscaler) Stop() {
	if a.server != nil {
		_ = a.server.Close()
		a.serving.Wait()
	}
}

// Resume serves again, at the same address as before Stop.
func (a *Autoscaler) Resume() error { return a.serve() }

// Close ends the server.
func (a *Autoscaler) Close() {
	a.Stop()
	a.client.CloseIdleConnections()
}

// Key returns the current key, which signs.
func (a *Autoscaler) Key() *Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.key
}

// publicKey returns the key that /pubkey/ serves.
func (a *Autoscaler) publicKey() *Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.published != nil {
		return a.published
	}
	return a.key
}

// Publish makes /pubkey/ serve the next key while tickets are still signed with the
// current one, until Rotate. So the workers have it when it is needed.
func (a *Autoscaler) Publish(key *Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.published = key
}

// Rotate makes another key the current one; nil means a new RSA key.
func (a *Autoscaler) Rotate(key *Key) error {
	if key == nil {
		var err error
		if key, err = NewRSAKey(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.key, a.published = key, nil
	return nil
}

// Sign makes a ticket with exactly these claims, signed with the current key.
func (a *Autoscaler) Sign(c Claims) Ticket { return a.Key().Sign(c) }

// Ticket makes the next ticket for a worker, given by its index in Options.Workers,
// whether it is ready or not.
func (a *Autoscaler) Ticket(worker int, cost float64) Ticket {
	return a.issue(a.workers[worker], cost, "")
}

// issue numbers and signs a ticket. If request_idx is wanted and empty, it makes one.
func (a *Autoscaler) issue(w *worker, cost float64, requestIdx string) Ticket {
	spelled := Float(cost)
	if a.options.IntCost && cost == float64(int64(cost)) {
		spelled = Int(int64(cost))
	}
	a.mu.Lock()
	key := a.key
	claims := Claims{
		Cost: spelled, Endpoint: a.options.Endpoint, Reqnum: w.next, URL: w.url, Fields: a.options.Fields,
	}
	w.next++
	if a.options.RequestIdx {
		claims.RequestIdx = a.indexed(requestIdx)
	}
	a.mu.Unlock()
	return key.Sign(claims) // slow, so not under the lock
}

// indexed returns the request_idx, a new one if it is empty; mu is held.
func (a *Autoscaler) indexed(requestIdx string) string {
	if requestIdx == "" {
		a.requestIdx++
		requestIdx = strconv.FormatInt(a.requestIdx, 10)
	}
	return requestIdx
}
