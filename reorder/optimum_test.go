package reorder

import (
	"math"
	"slices"
	"time"
)

// optimum is the least mean hold with which at most a given share of the requests
// is admitted out of order and nobody is held for longer than limit, for somebody
// who knows the future and has unlimited slots. It reports false if there is none.
//
// With knowledge of the future one waits for no lost request, and chooses which
// late ones not to wait for. Those that are waited for, in order of their numbers,
// form a chain: a request goes when the last one before it in the chain has come.
// From one link to the next the cost is the holds of those between, plus a price
// for each of them that comes later and is not waited for. At a given price the
// cheapest chain is a shortest path; the price is found by bisection.
func optimum(list []arrival, from int, share float64, limit time.Duration) (result, bool) {
	counted := slices.Clone(list[from:])
	slices.SortFunc(counted, func(a, b arrival) int { return int(a.number - b.number) })
	at := make([]time.Duration, len(counted))
	for i, a := range counted {
		at[i] = a.at
	}
	allowed := int(share * float64(len(at)))
	low, high := 0.0, float64(time.Hour)
	best := cheapest(at, high, limit)
	if len(best.passed) > allowed {
		return summarise(best.holds, len(best.passed)), false
	}
	for range 30 {
		price := math.Sqrt(max(low, 1e3) * high)
		if c := cheapest(at, price, limit); len(c.passed) <= allowed {
			best, high = c, price
		} else {
			low = price
		}
	}
	best.spend(at, allowed)
	return summarise(best.holds, len(best.passed)), true
}

type chain struct {
	links  []int // indices of those waited for, ascending
	passed []int // of those that are overtaken
	holds  []time.Duration
}

// cheapest finds the cheapest chain at a price for each that is overtaken.
func cheapest(at []time.Duration, price float64, limit time.Duration) chain {
	n := len(at)
	least := make([]time.Duration, n+1) // of all from here on
	least[n] = math.MaxInt64
	for i := n - 1; i >= 0; i-- {
		least[i] = min(least[i+1], at[i])
	}
	cost, before := make([]float64, n+1), make([]int, n+1)
	for i := range cost {
		cost[i] = math.Inf(1)
	}
	// Any of the first few may be the first link; those before it are overtaken.
	for first := range min(n, 64) {
		cost[first], before[first] = price*float64(first), -1
	}
	for a := range n {
		sum := cost[a]
		for b := a + 1; b <= n; b++ {
			if (b == n || at[b] > at[a]) && sum < cost[b] {
				cost[b], before[b] = sum, a
			}
			if b == n || at[a]-at[b] > limit {
				break
			}
			if at[b] <= at[a] {
				sum += float64(at[a] - at[b])
				continue
			}
			sum += price
			if at[b] == least[b] {
				// All that follow come later still: waiting for this one holds
				// nobody up, so no cheapest chain goes past it.
				break
			}
		}
	}
	c := chain{}
	for b := before[n]; b >= 0; b = before[b] {
		c.links = append(c.links, b)
	}
	slices.Reverse(c.links)
	c.settle(at)
	return c
}

// settle works out who is held for how long.
func (c *chain) settle(at []time.Duration) {
	c.passed, c.holds = c.passed[:0], make([]time.Duration, len(at))
	link, until := 0, time.Duration(0)
	for i := range at {
		switch {
		case link < len(c.links) && c.links[link] == i:
			until = max(until, at[i])
			link++
		case at[i] > until || len(c.links) == 0 || i < c.links[0]:
			c.passed = append(c.passed, i)
		default:
			c.holds[i] = until - at[i]
		}
	}
}

// spend takes links out, those whose waiting costs most first, until as many are
// overtaken as may be: bisection stops at a corner of the frontier.
func (c *chain) spend(at []time.Duration, allowed int) {
	for len(c.passed) < allowed {
		best, gain := -1, time.Duration(0)
		for k := 1; k < len(c.links); k++ {
			i, end := c.links[k], len(at)
			if k+1 < len(c.links) {
				end = c.links[k+1]
			}
			saved := time.Duration(0)
			for j := i + 1; j < end; j++ {
				saved += c.holds[j] - max(0, at[c.links[k-1]]-at[j])
				if at[j] > at[c.links[k-1]] && c.holds[j] > 0 {
					saved = math.MinInt64 // others would be overtaken as well
					break
				}
			}
			if saved > gain {
				best, gain = k, saved
			}
		}
		if best < 0 {
			return
		}
		c.links = slices.Delete(c.links, best, best+1)
		c.settle(at)
	}
}
