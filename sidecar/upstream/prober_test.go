package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// errSlow is the error of a probe that takes too long.
type errSlow struct{}

func (errSlow) Error() string   { return "slow" }
func (errSlow) Timeout() bool   { return true }
func (errSlow) Temporary() bool { return true }

// A script answers probes in turn; the last answer is repeated.
type script struct {
	start   time.Time
	answers []any // a status or an error
	times   []time.Duration
}

func (s *script) RoundTrip(*http.Request) (*http.Response, error) {
	s.times = append(s.times, time.Since(s.start))
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if err, ok := a.(error); ok {
		return nil, err
	}
	return &http.Response{StatusCode: a.(int), Body: io.NopCloser(strings.NewReader("x"))}, nil
}

func TestProber(t *testing.T) {
	refused := errors.New("refused")
	tests := []struct {
		name    string
		answers []any
		flowing bool
		reports string
		healthy bool
		times   []int // seconds
	}{
		{"healthy at once", []any{200}, false, "up", true, []int{0, 5, 10, 15}},
		{"another success", []any{302}, false, "up", true, []int{0, 5, 10, 15}},
		{"no such path", []any{404}, false, "up", true, []int{0, 5, 10, 15}},
		{"starts late, asked more often", []any{refused, 503, 200}, false, "up", true, []int{0, 1, 2, 3, 4, 9, 14}},
		{"never", []any{500}, false, "down", false, nil},
		{"wants a key", []any{401}, false, "down", false, nil},
		{"two failures are forgiven", []any{200, 500, refused, 200}, false, "up", true, []int{0, 5, 5, 6, 7, 8, 13}},
		{"three are not", []any{200, 500, 500, refused}, false, "up down", false, []int{0, 5, 5, 6, 7, 8, 9}},
		{"one success heals", []any{200, 500, 500, 500, 200}, false, "up down up", true, []int{0, 5, 5, 6, 7, 8, 9, 14}},
		{"slow is a failure", []any{200, errSlow{}}, false, "up down", false, nil},
		{"slow is none while answers flow", []any{200, errSlow{}}, true, "up", true, nil},
		{"slow is no success while answers flow", []any{errSlow{}}, true, "", false, nil},
		{"other failures count while answers flow", []any{200, 500}, true, "up down", false, nil},
		{"slow ones in between do not count", []any{200, 500, 500, errSlow{}, 500, 200}, true, "up down up", true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reports []string
				p, err := NewProber(ProberOptions{
					Network: "tcp", Address: "x", Host: "x", Path: "/health", Interval: 5 * time.Second, Failures: 3,
					Flowing: func() bool { return tt.flowing },
					Report: func(healthy bool, err error) {
						require.Equal(t, healthy, err == nil)
						reports = append(reports, map[bool]string{true: "up", false: "down"}[healthy])
					},
				})
				require.NoError(t, err)
				s := &script{start: time.Now(), answers: tt.answers}
				p.client.Transport = s
				require.False(t, p.Healthy())
				require.Equal(t, "not probed yet", p.Status())
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second-1)
				defer cancel()
				require.ErrorIs(t, p.Run(ctx), context.DeadlineExceeded)
				require.Equal(t, tt.reports, strings.Join(reports, " "))
				require.Equal(t, tt.healthy, p.Healthy())
				require.Equal(t, tt.healthy, p.Status() == "")
				for i, want := range tt.times {
					require.Equal(t, time.Duration(want)*time.Second, s.times[i], "probe %d", i)
				}
			})
		})
	}
}

// After Hasten the next probe comes within a second, never later than it would have, and
// Probed is called after each probe.
func TestProberIsHastened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		var p *Prober
		p, err := NewProber(ProberOptions{
			Network: "tcp", Address: "x", Host: "x", Path: "/health", Interval: 5 * time.Second, Failures: 3,
			Probed: func(healthy bool) {
				if told++; told == 2 || told == 4 {
					p.Hasten()
				}
				require.True(t, healthy)
			},
		})
		require.NoError(t, err)
		s := &script{start: time.Now(), answers: []any{200, 200, 200, 500, 200}}
		p.client.Transport = s
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		require.ErrorIs(t, p.Run(ctx), context.DeadlineExceeded)
		// The second hastens the third; the fourth fails, and is followed by one at once.
		require.Equal(t, []time.Duration{0, 5, 6, 11, 11, 12, 13}, seconds(s.times))
		require.Equal(t, len(s.times), told)
	})
}

// A server that is suspected again just after it was probed for that is probed within a
// second, however soon a failure makes it unhealthy.
func TestProberIsToldTwice(t *testing.T) {
	for _, failures := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			p, err := NewProber(ProberOptions{
				Network: "tcp", Address: "x", Host: "x", Path: "/health", Interval: 10 * time.Second, Failures: failures,
			})
			require.NoError(t, err)
			s := &script{start: time.Now(), answers: []any{200}}
			p.client.Transport = s
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
			defer cancel()
			go func() {
				time.Sleep(3 * time.Second)
				p.Suspect()
				time.Sleep(200 * time.Millisecond)
				p.Suspect()
			}()
			require.ErrorIs(t, p.Run(ctx), context.DeadlineExceeded)
			require.Equal(t, []time.Duration{0, 3, 4}, seconds(s.times)[:3], "%d failures", failures)
		})
	}
}

func seconds(times []time.Duration) []time.Duration {
	list := make([]time.Duration, len(times))
	for i, at := range times {
		list[i] = at / time.Second
	}
	return list
}

func TestProberOverTheWire(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		heads := make(chan string, 1)
		m := listen(t, network, func(p *peer) {
			head, _, err := p.request()
			if err == nil {
				p.send("HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
				heads <- head
				_ = p.gone()
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		p, err := NewProber(ProberOptions{
			Network: network, Address: m.addr, Host: "model", Path: "/health?x", Interval: time.Hour, Failures: 1,
			Report: func(bool, error) { cancel() },
		})
		require.NoError(t, err)
		require.ErrorIs(t, p.Run(ctx), context.Canceled)
		require.True(t, p.Healthy())
		head := <-heads
		require.True(t, strings.HasPrefix(head, "GET /health?x HTTP/1.1\r\nHost: model\r\n"), head)
	}
}

// A server that accepts connections and says nothing makes the probe time out.
func TestProberTimeout(t *testing.T) {
	m := listen(t, "tcp", func(p *peer) { <-p.ended() })
	ctx, cancel := context.WithCancel(t.Context())
	var got error
	p, err := NewProber(ProberOptions{
		Network: "tcp", Address: m.addr, Host: "model", Path: "/", Interval: time.Hour, Timeout: 10 * time.Millisecond, Failures: 1,
		Report: func(_ bool, err error) { got = err; cancel() },
	})
	require.NoError(t, err)
	require.ErrorIs(t, p.Run(ctx), context.Canceled)
	var slow interface{ Timeout() bool }
	require.ErrorAs(t, got, &slow)
	require.True(t, slow.Timeout())
	require.NotEmpty(t, p.Status())
}

func TestProberOptions(t *testing.T) {
	good := ProberOptions{Network: "tcp", Address: "x", Host: "x", Path: "/", Interval: 1, Failures: 1}
	_, err := NewProber(good)
	require.NoError(t, err)
	for i, spoil := range []func(o *ProberOptions){
		func(o *ProberOptions) { o.Interval = 0 },
		func(o *ProberOptions) { o.Failures = 0 },
		func(o *ProberOptions) { o.Timeout = -1 },
		func(o *ProberOptions) { o.Path = "/%zz" },
	} {
		o := good
		spoil(&o)
		_, err := NewProber(o)
		require.Error(t, err, fmt.Sprint(i))
	}
}

// A request that finds the server broken has it probed at once and every second after,
// until it is known to be healthy again; a thousand such requests cost one probe a
// second, and none more while the server is known to be unhealthy.
func TestProberSuspects(t *testing.T) {
	refused := errors.New("refused")
	for _, tt := range []struct {
		name    string
		answers []any
		suspect []time.Duration // when requests break
		times   []time.Duration
	}{
		{"it is dead", []any{200, refused}, []time.Duration{2500 * time.Millisecond},
			[]time.Duration{0, 2500 * time.Millisecond, 2500 * time.Millisecond, 3500 * time.Millisecond, 4500 * time.Millisecond}},
		{"it is well", []any{200}, []time.Duration{2500 * time.Millisecond},
			[]time.Duration{0, 2500 * time.Millisecond, 3500 * time.Millisecond, 4500 * time.Millisecond, 9500 * time.Millisecond}},
		{"many at once", []any{200}, []time.Duration{2 * time.Second, 2100 * time.Millisecond, 2200 * time.Millisecond, 2900 * time.Millisecond},
			[]time.Duration{0, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second, 10 * time.Second}},
		{"it is known to be down", []any{refused}, []time.Duration{3200 * time.Millisecond, 3400 * time.Millisecond},
			[]time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := NewProber(ProberOptions{Network: "tcp", Address: "x", Host: "x", Path: "/", Interval: 5 * time.Second, Failures: 3})
				require.NoError(t, err)
				s := &script{start: time.Now(), answers: tt.answers}
				p.client.Transport = s
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for _, at := range tt.suspect {
					time.AfterFunc(at, func() {
						for range 100 {
							p.Suspect()
						}
					})
				}
				require.ErrorIs(t, p.Run(ctx), context.DeadlineExceeded)
				require.GreaterOrEqual(t, len(s.times), len(tt.times))
				require.Equal(t, tt.times, s.times[:len(tt.times)])
			})
		})
	}
}
