package main

import (
	"fmt"
	"slices"
	"strings"
)

// A key names a figure.
type key struct {
	phase, target, metric string
	x                     float64 // growth: the size; otherwise 0
}

// results hold the figures of all rounds, in their order: the n-th figures of two
// targets were measured close together.
type results struct {
	values map[key][]float64
	order  []key
}

func (r *results) add(phase, target, metric string, x, value float64) {
	k := key{phase, target, metric, x}
	if r.values == nil {
		r.values = map[key][]float64{}
	}
	if _, ok := r.values[k]; !ok {
		r.order = append(r.order, k)
	}
	r.values[k] = append(r.values[k], value)
}

// targets returns the targets that a phase has figures for, in order.
func (r *results) targets(phase string) (names []string) {
	for _, k := range r.order {
		if k.phase == phase && !slices.Contains(names, k.target) {
			names = append(names, k.target)
		}
	}
	return names
}

// ratio divides two figures round by round.
func (r *results) ratio(over, under key) []float64 {
	a, b := r.values[over], r.values[under]
	var list []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			list = append(list, a[i]/b[i])
		}
	}
	return list
}

// quantile returns the value below which a share q of the list lies.
func quantile(list []int64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)])
}

// A spread is the median and the extremes of several rounds.
type spread struct{ median, low, high float64 }

func spreadOf(list []float64) spread {
	if len(list) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(list))
	m := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		m = (m + sorted[len(sorted)/2-1]) / 2
	}
	return spread{m, sorted[0], sorted[len(sorted)-1]}
}

// String formats a spread like "36.9 (35.1–39.0)".
func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", figure(s.median), figure(s.low), figure(s.high))
}

// figure formats a number with three digits.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1000 || v <= -1000:
		whole := fmt.Sprintf("%.0f", v)
		return whole[:len(whole)-3] + "," + whole[len(whole)-3:]
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", v), ".00")
	}
}

// tsv returns a line for each figure with its median and extremes.
func (r *results) tsv() string {
	var b strings.Builder
	b.WriteString("phase\ttarget\tmetric\tx\tmedian\tlow\thigh\trounds\n")
	for _, k := range r.order {
		s := spreadOf(r.values[k])
		fmt.Fprintf(&b, "%s\t%s\t%s\t%g\t%.5g\t%.5g\t%.5g\t%d\n", k.phase, k.target, k.metric, k.x, s.median, s.low, s.high, len(r.values[k]))
	}
	return b.String()
}
