package reorder

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	fullrun "github.com/usher-sidecar/usher/test/full"
)

var (
	allOfThem = flag.Bool("all", false, "simulate all scenarios and print the tables, which takes minutes")
	results   = flag.String("results", "", "write the simulation's table to this file, tab separated")
)

// settling is how many requests come first and are not counted, while the hold is
// learned.
const settling = 300

// simulated is how many requests are simulated.
func simulated() int {
	if *allOfThem || fullrun.Run() {
		return 20_000
	}
	return 2_000 // to see that all holds together
}

var learned = Config{Auto: true, Target: 0.01, MaxHold: 250 * ms}

// scenarios are all of them with -all, and without it a few, to see that all
// holds together.
func scenarios(limits ...float64) (list []scenario) {
	rates, losses := []float64{5, 20, 200, 2000}, []float64{0, 0.02, 0.1, 0.3}
	if !*allOfThem {
		rates, losses, limits = []float64{200}, []float64{0.02}, limits[:1]
	}
	for _, limit := range limits {
		for _, rate := range rates {
			for _, path := range []string{"LAN", "WAN", "heavy tail", "bimodal", "LAN, then WAN"} {
				for _, loss := range losses {
					list = append(list, scenario{rate, path, loss, limit})
				}
			}
		}
	}
	return list
}

// TestSimulation prints what each strategy makes of each scenario:
//
//	go test ./reorder -run Simulation -all
func TestSimulation(t *testing.T) {
	table := []string{heading("none", "20 ms", "100 ms", "500 ms", "learned") + "best fixed\tmean\toptimum\tmean\tp50\tp99\tratio\tall in order\tmean\tp50\tp99\tratio"}
	for _, s := range scenarios(0, 0.5, 0.9, 1.1) {
		arrivals := s.arrivals(simulated())
		row := s.String()
		var r result
		for _, st := range strategies {
			r = s.run(t, arrivals, settling, learned, st.make)
			row += "\t" + r.String()
		}
		if s.slots == 0 {
			hold, mean := s.bestFixed(t, arrivals, r)
			best, ok := optimum(arrivals, settling, r.reordered, learned.MaxHold)
			row += fmt.Sprintf("\t%s\t%s\t%s\t%s", inMs(hold), inMs(mean), best, ratio(r, best, ok))
			// What one pays who knows which numbers will come, and waits for all
			// that can be waited for.
			all, ok := optimum(arrivals, settling, 0, learned.MaxHold)
			row += fmt.Sprintf("\t%s\t%s", all, ratio(r, all, ok || all.reordered <= learned.Target))
		}
		table = append(table, row)
	}
	print(t, table)
	if *results != "" {
		require.NoError(t, os.WriteFile(*results, []byte(strings.Join(table, "\n")+"\n"), 0o644))
	}
}

// TestSimulationOfEstimators prints how each estimator that was considered fares in
// each scenario without a limit on slots.
func TestSimulationOfEstimators(t *testing.T) {
	names := make([]string, len(alternatives))
	for i, st := range alternatives {
		names[i] = st.name
	}
	table := []string{heading(names...)}
	for _, s := range scenarios(0) {
		row := s.String()
		for _, st := range alternatives {
			row += "\t" + s.run(t, s.arrivals(simulated()), settling, learned, st.make).String()
		}
		table = append(table, row)
	}
	print(t, table)
}

// bestFixed finds the shortest fixed hold that reorders no more than r did, and its
// cost: the best setting in hindsight.
func (s scenario) bestFixed(t *testing.T, arrivals []arrival, r result) (hold, mean time.Duration) {
	low, high := time.Duration(0), learned.MaxHold
	for high-low > high/50+10*time.Microsecond {
		middle := (low + high) / 2
		got := s.run(t, arrivals, settling, learned, fixedAt(middle))
		if got.reordered <= r.reordered {
			high, mean = middle, got.mean
		} else {
			low = middle
		}
	}
	return high, mean
}

// ratio is the mean of r over that of an optimum, if there is one above 0.
func ratio(r, best result, ok bool) string {
	if !ok || best.mean <= 10*time.Microsecond {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(r.mean)/float64(best.mean))
}

func heading(strategies ...string) string {
	line := "rate\tpath\tloss\tslots\t"
	for _, name := range strategies {
		line += name + "\tmean\tp50\tp99\t"
	}
	return line
}

func print(t *testing.T, table []string) {
	if !*allOfThem {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range table {
		_, _ = io.WriteString(w, row+"\t\n")
	}
	require.NoError(t, w.Flush())
}

// String is four cells of the table; times are in milliseconds.
func (r result) String() string {
	return fmt.Sprintf("%.2f %%\t%s\t%s\t%s", 100*r.reordered, inMs(r.mean), inMs(r.p50), inMs(r.tail))
}

func inMs(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
