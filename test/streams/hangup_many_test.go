package streams

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A crowd is many clients of one usher, each with one request under way.
type crowd struct {
	t       testing.TB
	u       *rig.Usher
	stage   *rig.Stage
	phase   string
	pool    *x509.CertPool
	signer  *rig.Signer
	clients []*rig.Wire
}

// newCrowd brings n clients to a phase: waiting for a slot (which one more client
// has), before the head, or in the middle of an answer. Every other one has bytes of
// its next request waiting unread.
func newCrowd(t testing.TB, n int, phase string, secure bool) *crowd {
	c := &crowd{t: t, phase: phase, stage: rig.NewStage(t, phase == "non-stream"), signer: rig.NewSigner(t)}
	with := rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": c.signer.Public(),
		"USHER_UPSTREAM_URL": "http://" + c.stage.Address, "USHER_REORDER_HOLD": "0",
		"USHER_MAX_CONCURRENCY": rig.Itoa(n), "USHER_QUEUE_CAPACITY": rig.Itoa(n), "USHER_QUEUE_TIMEOUT": "10m",
	}
	if phase == "waiting" {
		with["USHER_MAX_CONCURRENCY"] = "1"
	}
	if secure {
		var cert, key string
		cert, key, c.pool = rig.CertificateFiles(t, t.TempDir())
		with = with.With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
	}
	c.u = rig.Start(t, with)
	gauge := "usher_in_flight"
	if phase == "waiting" {
		c.open("head-first", false)
		c.u.WaitMetric(gauge, 1)
		gauge = "usher_waiting"
	}
	for i := range n {
		c.clients = append(c.clients, c.open(c.id(i), i%2 == 1))
	}
	for _, client := range c.clients {
		if phase == "stream" || phase == "non-stream" {
			_, err := client.In.Peek(1)
			require.NoError(t, err)
		}
	}
	c.u.WaitMetric(gauge, float64(n))
	return c
}

func (c *crowd) id(i int) string { return fmt.Sprintf("%s-%d-", c.phase, i) }

// open sends a request and, with more, the beginning of another one.
func (c *crowd) open(id string, more bool) *rig.Wire {
	client := rig.Connect(c.t, c.u, c.pool)
	require.NoError(c.t, client.SetDeadline(time.Now().Add(3*rig.Patience)))
	body := c.signer.Ticket().Flat("")
	request := "POST /generate_stream HTTP/1.1\r\nHost: usher\r\nX-Request-Id: " + id +
		"\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body)
	if more {
		request += "POST /generate HTTP/1.1\r\nHost: usher\r\n"
	}
	client.Send(request)
	return client
}

// leave closes a client's connection and returns how long it took until the model
// server's was closed. A waiting client has none: for it, leave returns the time to
// its line in the log, which may be buffered for 30 ms.
func (c *crowd) leave(i int) time.Duration {
	began := time.Now()
	_ = c.clients[i].Close()
	if c.phase == "waiting" {
		require.Contains(c.t, c.u.WaitLine(c.id(i)), `"client_gone"`)
		return time.Since(began)
	}
	select {
	case at := <-c.stage.Of(c.id(i)):
		return at.Sub(began)
	case <-time.After(rig.Patience):
		require.Fail(c.t, "the model server's connection stays open", "client %d of %d", i, len(c.clients))
		return rig.Patience
	}
}

// hangUpMany makes n clients leave one by one and returns how long each took.
func hangUpMany(t testing.TB, n int, phase string, secure bool) []time.Duration {
	c := newCrowd(t, n, phase, secure)
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = c.leave(i)
	}
	left := 0.0
	if phase == "waiting" {
		left = 1
	}
	require.Eventually(t, func() bool {
		return c.u.Metric("usher_in_flight") == left && c.u.Metric("usher_waiting") == 0
	}, rig.Patience, 10*time.Millisecond)
	c.u.Kill()
	return took
}

var hangUpPhases = []string{"waiting", "head", "stream", "non-stream"}

// Among many open requests each hang-up is noticed.
func TestHangUpOfMany(t *testing.T) {
	t.Parallel()
	many := full.Or(10, 100)
	for _, phase := range hangUpPhases {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s TLS=%t", phase, secure), func(t *testing.T) {
				t.Parallel()
				require.Len(t, hangUpMany(t, many, phase, secure), many)
			})
		}
	}
}

// BenchmarkHangUpOfMany measures the time from a client's close to the end of the
// model server's connection, with 1,000 streams open at the start.
//
//	go test -run '^$' -bench HangUpOfMany -benchtime 1x ./test/streams
func BenchmarkHangUpOfMany(b *testing.B) {
	for _, phase := range hangUpPhases {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/TLS=%t", phase, secure), func(b *testing.B) {
				var took []time.Duration
				for range b.N {
					took = append(took, hangUpMany(b, 1000, phase, secure)...)
				}
				slices.Sort(took)
				at := func(q int) float64 { return float64(took[(len(took)-1)*q/100].Microseconds()) }
				b.ReportMetric(at(50), "us-p50")
				b.ReportMetric(at(99), "us-p99")
				b.ReportMetric(at(100), "us-max")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
