package reorder

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

var results = flag.String("results", "", "file for the simulation's figures as tab separated values")

// Requests that are simulated, and how many of them come first and are not
// counted: what the hold learned from.
const (
	simulated = 20000
	settling  = 300
)

var learned = Config{Auto: true, Target: 0.01, MaxHold: 250 * ms}

// TestSimulation prints what each strategy makes of each scenario:
//
//	go test -run Simulation -v ./reorder
//
// Without -v it runs a part of it, to see that all holds together.
func TestSimulation(t *testing.T) {
	var out io.Writer = io.Discard
	limits := []float64{0}
	rates, losses := []float64{200}, []float64{0, 0.02}
	if testing.Verbose() {
		out = os.Stdout
		limits = []float64{0}
		rates, losses = []float64{5, 20, 200, 2000}, []float64{0, 0.02, 0.1, 0.3}
	}
	if *results != "" {
		file, err := os.Create(*results)
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		out = file
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	header(w, strategies)
	for _, limit := range limits {
		for _, rate := range rates {
			for _, path := range []string{"LAN", "WAN", "heavy tail", "bimodal", "LAN, then WAN"} {
				for _, loss := range losses {
					s := scenario{rate, path, loss, limit}
					fmt.Fprintf(w, "%s\t", s)
					got := s.compare(t, w, strategies)
					if limit == 0 {
						s.optimal(w, got[len(got)-1])
					}
					fmt.Fprintln(w)
				}
			}
		}
	}
	require.NoError(t, w.Flush())
}

func header(w io.Writer, list []strategy) {
	fmt.Fprint(w, "rate\tpath\tloss\tslots\t")
	for _, s := range list {
		fmt.Fprintf(w, "%s\tmean\tp50\tp99\t", s.name)
	}
	fmt.Fprintln(w, "optimum\tmean\tp50\tp99\tratio\t")
}

func (s scenario) compare(t *testing.T, w io.Writer, list []strategy) (all []result) {
	arrivals := s.arrivals(simulated)
	for _, st := range list {
		r := s.run(t, arrivals, settling, learned, st.make)
		fmt.Fprintf(w, "%s\t", r)
		all = append(all, r)
	}
	return all
}

// optimal prints the optimum for the share that a strategy reached.
func (s scenario) optimal(w io.Writer, r result) {
	best, ok := optimum(s.arrivals(simulated), settling, r.reordered, learned.MaxHold)
	if !ok {
		fmt.Fprintf(w, "%s\t–\t", best)
		return
	}
	fmt.Fprintf(w, "%s\t%.2f\t", best, float64(r.mean)/float64(max(best.mean, time.Microsecond)))
}

// String is four cells of the table; times are in milliseconds.
func (r result) String() string {
	inMs := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("%.2f %%\t%s\t%s\t%s", 100*r.reordered, inMs(r.mean), inMs(r.p50), inMs(r.tail))
}
