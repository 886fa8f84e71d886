package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A weather is the state of the network during a campaign.
type weather struct {
	name   string
	at     condition     // of every client's cable and the autoscaler's
	later  condition     // the zero value: as before; else what they become in the midst of it
	outage time.Duration // and for how long; 0: to the end
	behind condition     // of the model server's cable
	ipv6   bool
	tls    bool
	probes bool // the kernels look for the size of packets that a path lets through
	proof  func(counts) bool
}

var weathers = []weather{
	{name: "1 % loss", at: condition{loss: 0.01}, proof: func(c counts) bool { return c.lost > 0 }},
	{name: "5 % loss and TLS", at: condition{loss: 0.05}, tls: true, proof: func(c counts) bool { return c.lost > 0 }},
	{name: "1 % loss and to the model server too", at: condition{loss: 0.01}, behind: condition{loss: 0.01}},
	{name: "100 ms ± 30 ms", at: condition{delay: 100 * time.Millisecond, jitter: 30 * time.Millisecond}, proof: func(c counts) bool { return c.overtaken > 0 }},
	{name: "a quarter overtakes", at: condition{delay: 10 * time.Millisecond, hasty: 0.25}, proof: func(c counts) bool { return c.overtaken > 0 }},
	{name: "1 Mbit/s", at: condition{rate: 1_000_000}},
	{name: "packets get smaller", later: condition{mtu: 700}, proof: func(c counts) bool { return c.tooLarge > 0 }},
	{name: "packets get smaller, ICMP is dropped", later: condition{mtu: 1100, silent: true}, probes: true, proof: func(c counts) bool { return c.tooLarge > 0 }},
	{name: "nothing passes for 5 s", later: condition{cut: true}, outage: 5 * time.Second, proof: func(c counts) bool { return c.lost > 0 }},
	{name: "IPv6 alone", ipv6: true},
	{name: "IPv6 alone, 5 % loss, 50 ms ± 20 ms, packets get smaller", ipv6: true,
		at:    condition{loss: 0.05, delay: 50 * time.Millisecond, jitter: 20 * time.Millisecond},
		later: condition{loss: 0.05, delay: 50 * time.Millisecond, jitter: 20 * time.Millisecond, mtu: 1280},
		proof: func(c counts) bool { return c.lost > 0 && c.overtaken > 0 && c.tooLarge > 0 }},
}

// Whatever the network does, every honest request is answered in full, replayed and
// forged ones are not served, a hang-up frees the model server, and everything that
// was taken is given back.
func TestEveryRequestIsServedOnceOnAnyNetwork(t *testing.T) {
	t.Parallel()
	full.Only(t)
	for _, weather := range weathers {
		t.Run(weather.name, func(t *testing.T) {
			t.Parallel()
			newCampaign(t, weather).run()
		})
	}
}

// The parts of a campaign.
const (
	clientHosts = 4
	lanes       = 3 // clients a host
	rounds      = 3
	large       = 100 << 10
)

type campaign struct {
	*world
	t       *testing.T
	weather weather
	clients []*host
	pool    *x509.CertPool

	done   atomic.Int64
	mu     sync.Mutex
	faults []string
	wanted map[string]string // outcomes, by request id
	served map[string]int    // how often, by ticket
}

func newCampaign(t *testing.T, weather weather) *campaign {
	c := &campaign{t: t, weather: weather, wanted: map[string]string{}, served: map[string]int{}}
	// If a connection ends just as the next request is on its way, neither side is at
	// fault; nor if a busy machine is slow.
	settings := rig.Env{"USHER_IDLE_TIMEOUT": "1h", "USHER_READ_TIMEOUT": "5m"}
	if weather.tls {
		cert, key, pool := rig.CertificateFiles(t, t.TempDir())
		settings, c.pool = settings.With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key}), pool
	}
	c.world = build(t, plan{ipv6: weather.ipv6, answer: c.serve, settings: settings})
	for range clientHosts {
		c.clients = append(c.clients, c.lab.host())
	}
	if weather.probes {
		for _, h := range append([]*host{c.worker, c.routing, c.model.host}, c.clients...) {
			out, err := h.command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_mtu_probing").CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
	c.model.host.set(weather.behind)
	c.change(weather.at)
	return c
}

// change sets the condition of all cables of clients and of the autoscaler.
func (c *campaign) change(to condition) {
	for _, h := range append([]*host{c.routing}, c.clients...) {
		h.set(to)
	}
}

func (c *campaign) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) < 10 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// kinds are what clients do, in turn.
var kinds = []string{"plain", "stream", "large", "upload", "upload beside", "hang-up", "again", "forged"}

func (c *campaign) run() {
	descriptors := c.usher.Metric("process_open_fds")
	began := time.Now()
	var working sync.WaitGroup
	for number, h := range c.clients {
		transport := h.client()
		if c.pool != nil {
			transport.TLSClientConfig = &tls.Config{RootCAs: c.pool, ServerName: "127.0.0.1"}
		}
		client := &http.Client{Transport: transport, Timeout: 5 * time.Minute}
		for lane := range lanes {
			working.Go(func() {
				for n := range rounds * len(kinds) {
					c.act(client, kinds[(n+lane+number)%len(kinds)])
					if half := int64(clientHosts * lanes * rounds * len(kinds) / 2); c.done.Add(1) == half && c.weather.later != (condition{}) {
						c.change(c.weather.later)
						if c.weather.outage > 0 {
							time.Sleep(c.weather.outage)
							c.change(c.weather.at)
						}
					}
				}
				client.CloseIdleConnections()
			})
		}
	}
	working.Wait()
	took := time.Since(began)
	c.change(condition{})
	c.settles(descriptors)
	c.audit()
	var all counts
	for _, h := range append([]*host{c.routing}, c.clients...) {
		for _, k := range []*link{&h.in, &h.out} {
			of := k.counted()
			all = counts{all.passed + of.passed, all.lost + of.lost, all.overtaken + of.overtaken, all.tooLarge + of.tooLarge}
		}
	}
	c.t.Logf("%d requests in %.1f s; packets: %d passed, %d lost, %d overtaken, %d too large",
		c.done.Load(), took.Seconds(), all.passed, all.lost, all.overtaken, all.tooLarge)
	if c.weather.proof != nil {
		require.True(c.t, c.weather.proof(all), "the network was not what it is said to be")
	}
}

// audit compares what clients saw with the model server's records and the log.
func (c *campaign) audit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(c.t, c.faults)
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	require.Equal(c.t, c.served, c.model.seen, "each ticket that was served, and no other, reached the model server, once")
	for id := range c.wanted { // lines are gathered before they are written
		c.usher.WaitLine(`"request_id":"` + id + `"`)
	}
	said := map[string][]string{}
	for _, line := range c.usher.Log() {
		var record struct {
			ID      string `json:"request_id"`
			Outcome string `json:"outcome"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Outcome != "" {
			said[record.ID] = append(said[record.ID], record.Outcome)
		}
	}
	for id, outcome := range c.wanted {
		require.Equal(c.t, []string{outcome}, said[id], id)
	}
}

// act behaves as one of the kinds.
func (c *campaign) act(client *http.Client, kind string) {
	ticket, err := c.ticket(client)
	if err != nil {
		c.fail("%s: a ticket: %v", kind, err)
		return
	}
	name := fmt.Sprint(ticket.Reqnum)
	payload := `{"inputs":"` + name + `"}`
	if strings.HasPrefix(kind, "upload") {
		payload = `{"inputs":"` + strings.Repeat(name+" ", large/(len(name)+1)) + `"}`
	}
	m := message{ticket: name, kind: kind, path: "/generate", body: ticket.nested(payload), sum: sum(payload)}
	switch kind {
	case "stream", "hang-up":
		m.path = "/generate_stream"
	case "upload beside":
		m.authorization, m.body = ticket.token(), payload
	case "forged":
		m.ticket = "forged " + name
		m.body = strings.Replace(m.body, `"cost": 16`, `"cost": 15`, 1)
	}
	want := c.send(client, &m)
	if kind == "again" && want == "ok" {
		m.id, m.kind = "", "twice"
		want = c.send(client, &m)
	}
	if expected := map[string]string{"hang-up": "client_gone", "again": "reqnum_replayed", "forged": "bad_signature"}[kind]; want != expected && !(expected == "" && want == "ok") {
		c.fail("%s: %s ended with %s; usher: %s", name, kind, want, c.saidOf(m.id))
	}
}

// saidOf returns what Usher logged about a request.
func (c *campaign) saidOf(id string) string {
	for _, line := range c.usher.Log() {
		if strings.Contains(line, `"`+id+`"`) {
			return line
		}
	}
	return "nothing"
}

// send sends a message, again if it was refused before it was forwarded, as clients
// do, and returns how it ended.
func (c *campaign) send(client *http.Client, m *message) (outcome string) {
	for try := range 5 {
		m.id = fmt.Sprintf("%s.%s.%d", strings.ReplaceAll(m.ticket, " ", "-"), strings.ReplaceAll(m.kind, " ", "-"), try)
		outcome = c.try(client, *m)
		c.mu.Lock()
		c.wanted[m.id] = outcome
		if outcome == "ok" || outcome == "client_gone" {
			c.served[m.ticket]++
		}
		c.mu.Unlock()
		if outcome != "upstream_unreachable" {
			break
		}
	}
	return outcome
}

// try sends a message once.
func (c *campaign) try(client *http.Client, m message) (outcome string) {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	req, err := c.request(ctx, m, m.body)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if m.kind == "hang-up" && resp.StatusCode == http.StatusOK {
		if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
			return err.Error()
		}
		cancel()
		for end := time.Now().Add(rig.Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, gone := c.model.gone(m.ticket); gone {
				return "client_gone"
			}
		}
		return "the model server was not told"
	}
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK:
		return resp.Header.Get("X-Usher-Refusal")
	case string(body) != answerTo(m.kind, m.ticket):
		return fmt.Sprintf("another answer: %.40q", body)
	}
	return "ok"
}
