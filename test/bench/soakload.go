package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// The load of a soak.
const (
	soakRate   = 200 // requests a second through Usher
	soakDirect = 100 // and directly to the model server, as the control
	soakEvery  = 40 * time.Millisecond
	soakTokens = 100 // at most, of a stream
)

// A gait is how a client handles a request.
type gait int

const (
	whole    gait = iota // reads an answer that comes at once
	streamed             // reads a whole stream
	midBody              // leaves before the whole request is sent
	unread               // leaves before the answer
	midway               // leaves in the middle of a stream
)

// gaitOf chooses a gait: of ten requests seven are whole, two are streams, and one
// leaves.
func gaitOf(r *rand.Rand) gait {
	switch n := r.IntN(100); {
	case n < 70:
		return whole
	case n < 90:
		return streamed
	case n < 92:
		return midBody
	case n < 95:
		return unread
	}
	return midway
}

// A tally is what clients have measured since it was last taken. Times are in
// nanoseconds.
type tally struct {
	latency [2][]int64 // of whole requests: through Usher and direct
	delays  [2][]int64 // of each event of a stream
	sent    int
	left    int
	failed  []string
}

// A soakLoad sends requests at random times, whether earlier ones are answered or not.
type soakLoad struct {
	addr   [2]string // Usher, and the model server
	key    *autoscaler.Key
	reqnum atomic.Int64
	idle   [2]*idleConns

	mu    sync.Mutex
	tally tally
}

func newSoakLoad(usher, model string, key *autoscaler.Key) *soakLoad {
	l := &soakLoad{addr: [2]string{usher, model}, key: key, idle: [2]*idleConns{{}, {}}}
	l.reqnum.Store(firstNum)
	return l
}

// run sends requests until told to stop, and waits until all have ended.
func (l *soakLoad) run(stop <-chan struct{}) {
	var senders sync.WaitGroup
	for to, rate := range []float64{soakRate, soakDirect} {
		senders.Go(func() {
			var requests sync.WaitGroup
			defer requests.Wait()
			r := rand.New(rand.NewPCG(1, uint64(to)))
			for due := time.Now(); ; {
				due = due.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
				select {
				case <-stop:
					return
				case <-time.After(time.Until(due)):
				}
				g, choice := gaitOf(r), r.Uint64()
				requests.Go(func() { l.one(to, g, choice) })
			}
		})
	}
	senders.Wait()
	for _, c := range l.idle {
		c.close()
	}
}

// take returns the tally since the last call.
func (l *soakLoad) take() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	l.tally = tally{}
	return t
}

// one makes one request from beginning to end.
func (l *soakLoad) one(to int, g gait, choice uint64) {
	c, err := l.idle[to].get(l.addr[to], choice%8 == 0)
	if err == nil {
		var latency int64
		var delays []int64
		latency, delays, err = l.exchange(c, to, g, choice)
		l.mu.Lock()
		if latency > 0 {
			l.tally.latency[to] = append(l.tally.latency[to], latency)
		}
		l.tally.delays[to] = append(l.tally.delays[to], delays...)
		l.mu.Unlock()
		switch {
		case err == nil && g <= streamed && choice%8 != 1:
			l.idle[to].put(c)
		case choice>>32&1 == 1 && g > streamed:
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
			fallthrough
		default:
			_ = c.Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if to == 0 {
		l.tally.sent++
		if g > streamed {
			l.tally.left++
		}
	}
	if err != nil {
		l.tally.failed = append(l.tally.failed, fmt.Sprintf("%s, to %s: %v", [...]string{"whole", "streamed", "left in the body", "left unread", "left midway"}[g], [...]string{"Usher", "the model server"}[to], err))
	}
}

// exchange sends one request and reads as much of its answer as the gait says. It
// returns the latency of a whole request and the delays of a stream's events.
func (l *soakLoad) exchange(c *soakConn, to int, g gait, choice uint64) (latency int64, delays []int64, err error) {
	target := "/generate"
	if g == streamed || g == midway {
		target = fmt.Sprintf("/generate_stream?tokens=%d&every=%s", 2+choice>>8%(soakTokens-1), soakEvery)
	}
	body := `"inputs": "` + prompt(64+int(choice>>16%2048)) + `", "parameters": {"max_new_tokens": 256}`
	if to == 0 {
		ticket := l.key.Sign(autoscaler.Claims{Cost: "256.0", Endpoint: endpoint, Reqnum: l.reqnum.Add(1), URL: workerURL})
		body = ticket.Flat(body)
	} else {
		body = "{" + body + "}"
	}
	text := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 203.0.113.7:41234\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
	if g == midBody {
		_, err := c.Write(text[:len(text)-len(body)/2])
		return 0, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	sent := now()
	if _, err := c.Write(text); err != nil || g == unread {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return 0, nil, fmt.Errorf("%s: %.200q", resp.Status, text)
	}
	if g == whole {
		_, err := io.Copy(io.Discard, resp.Body)
		return now() - sent, nil, err
	}
	events := bufio.NewScanner(resp.Body)
	for events.Scan() {
		text, ok := bytes.CutPrefix(events.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		at, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return 0, delays, err
		}
		delays = append(delays, now()-at)
		if g == midway && len(delays) > int(choice>>40%20) {
			return 0, delays, nil
		}
	}
	return 0, delays, events.Err()
}

// A soakConn is a client's connection.
type soakConn struct {
	net.Conn
	r     *bufio.Reader
	since time.Time // idle since
}

// idleConns are connections between two requests.
type idleConns struct {
	mu    sync.Mutex
	conns []*soakConn
}

// get returns the connection that was used last, or a new one.
func (i *idleConns) get(addr string, fresh bool) (*soakConn, error) {
	i.mu.Lock()
	// A server may close a connection that has long been idle just when it is used.
	old := slices.IndexFunc(i.conns, func(c *soakConn) bool { return time.Since(c.since) < 5*time.Second })
	if old < 0 {
		old = len(i.conns)
	}
	for _, c := range i.conns[:old] {
		_ = c.Close()
	}
	i.conns = slices.Delete(i.conns, 0, old)
	if n := len(i.conns); n > 0 && !fresh {
		c := i.conns[n-1]
		i.conns = i.conns[:n-1]
		i.mu.Unlock()
		return c, nil
	}
	i.mu.Unlock()
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return nil, errors.Join(errors.New("no connection"), err)
	}
	return &soakConn{Conn: c, r: bufio.NewReader(c)}, nil
}

func (i *idleConns) put(c *soakConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c.since = time.Now()
	i.conns = append(i.conns, c)
}

func (i *idleConns) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.conns {
		_ = c.Close()
	}
	i.conns = nil
}
