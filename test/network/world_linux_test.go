package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/rig"
)

// Where each host listens.
const (
	publicPort     = 3000
	adminPort      = 9090
	modelPort      = 5001
	autoscalerPort = 8000
)

// A world is Usher and what is around it, each on a host of its own.
type world struct {
	t          testing.TB
	lab        *lab
	usher      *rig.Usher
	worker     *host // Usher's
	model      *model
	scaler     *autoscaler.Autoscaler
	url        string // Usher's
	scalerURL  string
	routing    *host // the autoscaler's
	operations *host // whoever looks at /metrics
}

// A plan is what a world is like.
type plan struct {
	ipv6     bool
	beside   bool // the model server is on Usher's host, as a sidecar's is
	answer   http.HandlerFunc
	settings rig.Env
}

// build makes a world.
func build(t testing.TB, p plan) *world {
	t.Helper()
	l := newLab(t, p.ipv6)
	w := &world{t: t, lab: l, worker: l.host(), operations: l.host()}
	at := w.worker
	if !p.beside {
		at = l.host()
	}
	w.model = newModel(at, p.answer)
	w.routing = l.host()
	w.url = "http://" + w.worker.at(publicPort)
	if p.settings["USHER_TLS_CERT_FILE"] != "" {
		w.url = "https://" + w.worker.at(publicPort)
	}
	var err error
	w.routing.on(func() {
		w.scaler, err = autoscaler.Start(autoscaler.Options{
			Address: w.routing.at(autoscalerPort), Endpoint: rig.Endpoint, Workers: []string{w.url},
			MasterToken: rig.MasterToken, Silence: time.Hour, RequestIdx: true, FirstReqnum: 1,
		})
	})
	require.NoError(t, err)
	t.Cleanup(w.scaler.Close)
	w.scalerURL = w.scaler.URL()
	block, _ := pem.Decode([]byte(w.scaler.Key().PEM()))
	pin := sha256.Sum256(block.Bytes)
	w.usher = rig.StartCommand(t, w.worker.command(rig.Binary), rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": w.url,
		"USHER_LISTEN_ADDR": fmt.Sprintf(":%d", publicPort), "USHER_ADMIN_ADDR": w.worker.at(adminPort),
		"USHER_UPSTREAM_URL": "http://" + w.model.host.at(modelPort),
		"REPORT_ADDR":        w.scalerURL, "USHER_PUBLIC_KEY_SHA256": hex.EncodeToString(pin[:]),
		"CONTAINER_ID": "4711", "MASTER_TOKEN": rig.MasterToken, "USHER_BENCHMARK": "1000000",
		"USHER_REPORT_INSECURE": "true", "USHER_CONNECT_TIMEOUT": rig.Patience.String(), "USHER_HEALTH_INTERVAL": "5s", "USHER_HEALTH_FAILURES": "20", // a busy machine is no fault here
	}.With(p.settings))
	w.usher.Public, w.usher.Transport = w.worker.at(publicPort), w.operations.client()
	w.usher.Ready()
	require.Eventually(t, func() bool { return w.scaler.Ready() == 1 }, rig.Patience, 10*time.Millisecond, "the worker has reported")
	return w
}

// A model is a model server on a host, with a ledger of what it was sent.
type model struct {
	host   *host
	answer http.HandlerFunc

	mu    sync.Mutex
	seen  map[string]int       // by the ticket that came with it
	order []string             // of their coming
	ended map[string]time.Time // when the connection of an answer under way was gone
}

func newModel(h *host, answer http.HandlerFunc) *model {
	m := &model{host: h, answer: answer, seen: map[string]int{}, ended: map[string]time.Time{}}
	h.serve(modelPort, m)
	return m
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		return
	}
	id := r.Header.Get("X-Ticket")
	m.mu.Lock()
	m.seen[id]++
	m.order = append(m.order, id)
	m.mu.Unlock()
	m.answer(w, r)
	if r.Context().Err() != nil {
		m.mu.Lock()
		m.ended[id] = time.Now()
		m.mu.Unlock()
	}
}

func (m *model) times(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[id]
}

func (m *model) gone(id string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.ended[id]
	return at, ok
}

// A ticket is the autoscaler's answer as it came.
type ticket struct {
	text   string
	Reqnum int64
}

// nested puts the ticket beside a payload.
func (t ticket) nested(payload string) string {
	return `{"auth_data":` + t.text + `,"payload":` + payload + `}`
}

func (t ticket) token() string {
	return "SignedRoute " + base64.RawURLEncoding.EncodeToString([]byte(t.text))
}

// ticket asks the autoscaler over the network.
func (w *world) ticket(from *http.Client) (t ticket, err error) {
	body := fmt.Sprintf(`{"endpoint":%q,"api_key":"toy-key","cost":16}`, rig.Endpoint)
	resp, err := from.Post(w.scalerURL+"/route/", "application/json", strings.NewReader(body))
	if err != nil {
		return t, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return t, err
	}
	t.text = string(bytes.TrimSpace(text))
	if err := json.Unmarshal(text, &t); err != nil || t.Reqnum == 0 {
		return t, fmt.Errorf("no ticket: %s (%w)", text, err)
	}
	return t, nil
}

// A message is one request to Usher.
type message struct {
	ticket, id, kind, path, authorization, body string

	sum string // of what the model server is to get
}

// request makes a message an HTTP request to Usher.
func (w *world) request(ctx context.Context, m message, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", w.url+m.path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"X-Request-Id": m.id, "X-Ticket": m.ticket, "X-Kind": m.kind, "X-Sum": m.sum, "Content-Type": "application/json", "Authorization": m.authorization,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// settles waits until what requests took is given back: places, memory,
// connections and descriptors.
func (w *world) settles(descriptors float64) {
	w.t.Helper()
	var off string
	for end := time.Now().Add(rig.Patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		off = ""
		for _, name := range []string{"usher_in_flight", "usher_waiting", "usher_held", "usher_waiting_bytes", "usher_connections", "usher_panics_total"} {
			if v := w.usher.Metric(name); v != 0 {
				off += fmt.Sprintf(" %s %g", name, v)
			}
		}
		if v := w.usher.Metric("process_open_fds"); v > descriptors+3 { // a probe, a report, this look at it
			off += fmt.Sprintf(" process_open_fds %g, was %g", v, descriptors)
		}
		if off == "" {
			return
		}
	}
	require.FailNow(w.t, "what was taken is not given back", off)
}
