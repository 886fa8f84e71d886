package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// measures are what must stay as it was, by their names in the report. Delays are what
// Usher adds to the control of the same seconds.
var measures = []struct {
	name string
	of   func(sample) float64
}{
	{"resident memory, MB", func(s sample) float64 { return s.resident }},
	{"heap that lives, MB", func(s sample) float64 { return s.live }},
	{"descriptors", func(s sample) float64 { return s.descriptors }},
	{"goroutines", func(s sample) float64 { return s.goroutines }},
	{"CPU, ms a second", func(s sample) float64 { return s.cpu }},
	{"longest pause of the collector in 10 s, ms", func(s sample) float64 { return s.pause[0] }},
	{"added to a request, p50 ms", func(s sample) float64 { return s.median[0] - s.median[1] }},
	{"added to a request, p99 ms", func(s sample) float64 { return s.p99[0] - s.p99[1] }},
	{"added to a token, p99 ms", func(s sample) float64 { return s.token[0] - s.token[1] }},
}

// A course is how one measure developed: the first and the last quarter of its
// samples, and how it rose after the first quarter.
type course struct {
	first, last middles
	slope       float64 // an hour
}

// middles hold the lower quartile and the median.
type middles struct{ low, median float64 }

func (m middles) String() string { return figure(m.low) + " (" + figure(m.median) + ")" }

// courseOf needs eight samples or more. The slope is the Theil–Sen estimator, the
// median of the slopes of all pairs, which a few outliers do not move.
func courseOf(samples []sample, of func(sample) float64) course {
	quarter := len(samples) / 4
	c := course{first: middlesOf(samples[:quarter], of), last: middlesOf(samples[len(samples)-quarter:], of)}
	var slopes []float64
	for i := quarter; i < len(samples); i++ {
		for j := i + 1; j < len(samples); j++ {
			slopes = append(slopes, (of(samples[j])-of(samples[i]))/(samples[j].second-samples[i].second)*3600)
		}
	}
	slices.Sort(slopes)
	c.slope = middle(slopes)
	return c
}

// flat reports whether the last quarter was no worse than the first. It compares lower
// quartiles, because whatever else the machine does adds to only some samples, while a
// leak raises all of them. The last must be at most 5 % above the first, or not above
// the first's median.
func (c course) flat() bool { return c.last.low <= c.first.low*1.05 || c.last.low <= c.first.median }

func middlesOf(samples []sample, of func(sample) float64) middles {
	list := sortedOf(samples, of)
	return middles{list[len(list)/4], middle(list)}
}

func sortedOf(samples []sample, of func(sample) float64) []float64 {
	var list []float64
	for _, s := range samples {
		list = append(list, of(s))
	}
	slices.Sort(list)
	return list
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// report returns the result in Markdown.
func (s *soaking) report(before, after sample, said []string) string {
	var b strings.Builder
	b.WriteString("| lower quartile (median) | first quarter | last quarter | slope an hour | flat |\n|---|---|---|---|---|\n")
	for _, m := range measures {
		c := courseOf(s.samples, m.of)
		fmt.Fprintf(&b, "| %s | %s | %s | %+.3g | %s |\n", m.name, c.first, c.last, c.slope, yes(c.flat()))
	}
	fmt.Fprintf(&b, "\n- %d requests to Usher, of which %d left before their end; %d failed.\n", s.sent, s.left, len(s.failed))
	kinds := byKind(s.failed)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  - %d: %s\n", kinds[kind], kind)
	}
	fmt.Fprintf(&b, "- Usher's collections: %s. Those of the load beside it: %s.\n", spans(s.pauses), spans(s.own))
	var waited []float64
	for _, s := range s.samples {
		waited = append(waited, s.waited)
	}
	fmt.Fprintf(&b, "- Usher's threads waited for a processor for %s ms a second (median, least and most of 10 s).\n", spreadOf(waited))
	fmt.Fprintf(&b, "- Before the load and %.0f s after it: %.1f and %.1f MB resident, %.0f and %.0f descriptors, %.0f and %.0f goroutines.\n",
		soakSettles.Seconds(), before.resident, after.resident, before.descriptors, after.descriptors, before.goroutines, after.goroutines)
	fmt.Fprintf(&b, "- Lines of the log that tell of a warning or an error: %d.\n", len(said))
	for _, line := range said[:min(len(said), 5)] {
		fmt.Fprintf(&b, "  - `%s`\n", line)
	}
	return b.String()
}

// byKind counts failures by what was tried and how it failed, without details.
func byKind(failures []string) map[string]int {
	kinds := map[string]int{}
	for _, f := range failures {
		parts := strings.SplitN(f, ": ", 3)
		kinds[strings.Join(parts[:min(len(parts), 2)], ": ")]++
	}
	return kinds
}

// spans says how long collections stopped a process.
func spans(pauses []float64) string {
	if len(pauses) == 0 {
		return "none"
	}
	slices.Sort(pauses)
	n := len(pauses)
	return fmt.Sprintf("%d, each of which stopped it for %.3f ms in the median, p99 %.3f ms, at most %.3f ms", n, middle(pauses), pauses[min(n*99/100, n-1)], pauses[n-1])
}

func yes(y bool) string { return map[bool]string{true: "yes", false: "no"}[y] }

func (s sample) String() string {
	return fmt.Sprintf("%5.0f s: %.1f MB (%.2f live), %.0f descriptors, %.0f goroutines, %.0f ms/s (waited %.1f), %.0f collections up to %.3f ms (%.3f), request p50 %.3f (%.3f) p99 %.3f (%.3f), token p99 %.3f (%.3f)",
		s.second, s.resident, s.live, s.descriptors, s.goroutines, s.cpu, s.waited, s.collections, s.pause[0], s.pause[1],
		s.median[0], s.median[1], s.p99[0], s.p99[1], s.token[0], s.token[1])
}

// tsvOf returns docs/soak.tsv, which docs/plot draws from.
func tsvOf(samples []sample) string {
	var b strings.Builder
	b.WriteString("second\tresident MB\tlive MB\tdescriptors\tgoroutines\tCPU ms/s\twaited ms/s\tcollections\tlongest pause ms\tthe load's\trequest p50 ms\tdirect\trequest p99 ms\tdirect\ttoken p99 ms\tdirect\n")
	for _, s := range samples {
		fmt.Fprintf(&b, "%.0f\t%.1f\t%.2f\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\n",
			s.second, s.resident, s.live, s.descriptors, s.goroutines, s.cpu, s.waited, s.collections, s.pause[0], s.pause[1],
			s.median[0], s.median[1], s.p99[0], s.p99[1], s.token[0], s.token[1])
	}
	return b.String()
}
