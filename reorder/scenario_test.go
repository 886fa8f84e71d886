package reorder

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A scenario is traffic on its way from the autoscaler to the worker.
type scenario struct {
	rate  float64 // requests a second that are routed, Poisson
	path  string  // how long they take to arrive
	loss  float64 // share that never arrives
	slots float64 // share of the load that the slots can carry; 0: no limit
}

func (s scenario) String() string {
	slots := "no limit"
	if s.slots > 0 {
		slots = fmt.Sprintf("%.0f %%", 100*s.slots)
	}
	return fmt.Sprintf("%g/s\t%s\t%.0f %%\t%s", s.rate, s.path, 100*s.loss, slots)
}

// A path draws the delay of a request, given how far into the run it is sent.
type path func(r *rand.Rand, share float64) time.Duration

func lan(r *rand.Rand, _ float64) time.Duration { return milliseconds(0.5 + r.ExpFloat64()) }
func wan(r *rand.Rand, _ float64) time.Duration { return milliseconds(20 + 30*r.ExpFloat64()) }

var paths = map[string]path{
	"LAN": lan,
	"WAN": wan,
	"heavy tail": func(r *rand.Rand, _ float64) time.Duration {
		return milliseconds(10 + min(math.Pow(1-r.Float64(), -1/1.5)-1, 60_000))
	},
	"bimodal": func(r *rand.Rand, _ float64) time.Duration {
		if r.Float64() < 0.05 {
			return milliseconds(201)
		}
		return milliseconds(1)
	},
	"LAN, then WAN": func(r *rand.Rand, share float64) time.Duration {
		if share < 0.5 {
			return lan(r, share)
		}
		return wan(r, share)
	},
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// An arrival is a request that comes: when, with which number.
type arrival struct {
	number int64
	at     time.Duration
}

// arrivals draws n numbers and returns those that come, as they come.
func (s scenario) arrivals(n int) []arrival {
	r := rand.New(rand.NewPCG(1, uint64(s.rate)))
	var list []arrival
	routed := time.Duration(0)
	for i := range n {
		routed += time.Duration(r.ExpFloat64() / s.rate * float64(time.Second))
		delay := paths[s.path](r, float64(i)/float64(n))
		if r.Float64() >= s.loss {
			list = append(list, arrival{int64(i) + 1000, routed + delay})
		}
	}
	slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
	return list
}

// meanService is about how long a request keeps its slot where slots are limited.
const meanService = 50 * time.Millisecond

// capacity returns a number of slots and a service time that together carry the
// scenario's share of its load exactly, whatever rounding the number costs.
func (s scenario) capacity() (slots int, service time.Duration) {
	if s.slots == 0 {
		return 0, 0
	}
	load := s.slots * s.rate * (1 - s.loss)
	slots = max(1, int(math.Round(load*meanService.Seconds())))
	return slots, time.Duration(float64(slots) / load * float64(time.Second))
}

// A result is how a strategy fared in a scenario. The holds are those of all
// requests, most of them 0.
type result struct {
	reordered       float64 // share (RFC 4737, section 3.3)
	mean, p50, tail time.Duration
}

func summarise(holds []time.Duration, reordered int) result {
	slices.Sort(holds)
	sum := time.Duration(0)
	for _, h := range holds {
		sum += h
	}
	n := len(holds)
	return result{float64(reordered) / float64(n), sum / time.Duration(n), holds[n/2], holds[n*99/100]}
}

// run sends arrivals through a real Buffer in virtual time, one goroutine for each
// request. Those that come before from take part but are not counted.
func (s scenario) run(t *testing.T, list []arrival, from int, cfg Config, e func(Config) estimator) (out result) {
	cfg.Timeout, cfg.Capacity, cfg.Bytes = 24*time.Hour, 1<<20, 1<<40
	service := time.Duration(0)
	cfg.Slots, service = s.capacity()
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(cfg, e(cfg))
		var mu sync.Mutex
		holds := make([]time.Duration, 0, len(list))
		before := uint64(0)
		var group sync.WaitGroup
		start := time.Now()
		for i, a := range list {
			time.Sleep(time.Until(start.Add(a.at)))
			if i == from {
				before = b.Stats().Reordered
			}
			group.Go(func() {
				slot, err := b.Admit(t.Context(), Request{Number: a.number})
				if err != nil {
					t.Error(err)
				}
				slot.Sent()
				if i >= from {
					mu.Lock()
					holds = append(holds, slot.Held())
					mu.Unlock()
				}
				if service > 0 {
					time.Sleep(service)
				}
				slot.Release()
			})
		}
		group.Wait()
		out = summarise(holds, int(b.Stats().Reordered-before))
	})
	return out
}
