// Plot draws the figures of the documents: docs/ordering.svg from docs/simulation.tsv
// (a panel for each kind of network, with a point for each strategy: the mean added
// delay against the share of requests admitted out of order); docs/performance.svg and
// docs/growth.svg from docs/performance.tsv, which test/bench writes; docs/slots.svg
// from docs/slots.tsv, which the simulation of sidecar/engine writes; and docs/soak.svg
// from docs/soak.tsv, which test/bench writes.
//
//	cd docs/plot && go run .
//
// It is a module of its own so that Usher does not depend on a plotting library.
package main

import (
	"fmt"
	"image/color"
	"log"
	"math"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The column of a strategy's share in the table; its mean hold is the next one.
var strategies = []struct {
	name   string
	column int
	color  color.Color
	label  vg.Point // of its label: left of the point where X is negative
}{
	{"no buffer", 4, color.RGBA{90, 90, 90, 255}, vg.Point{X: -6, Y: -12}},
	{"fixed 20 ms", 8, color.RGBA{31, 119, 180, 255}, vg.Point{X: 5, Y: 2}},
	{"fixed 100 ms", 12, color.RGBA{31, 119, 180, 255}, vg.Point{X: 5, Y: 2}},
	{"fixed 500 ms", 16, color.RGBA{31, 119, 180, 255}, vg.Point{X: 5, Y: 2}},
	{"learned", 20, color.RGBA{214, 39, 40, 255}, vg.Point{X: -9, Y: -4}},
	{"optimum", 26, color.RGBA{44, 160, 44, 255}, vg.Point{X: 5, Y: -12}},
}

var panels = []string{"LAN", "WAN", "heavy tail", "bimodal"}

// Smaller values are drawn at these, because the axes are logarithmic.
const (
	leastShare = 0.01 // per cent
	leastDelay = 0.01 // milliseconds
)

func main() {
	for _, drawing := range []struct {
		draw     func(from, to string) error
		from, to string
	}{
		{drawOrdering, "../simulation.tsv", "../ordering.svg"},
		{drawPeers, "../performance.tsv", "../performance.svg"},
		{drawGrowth, "../performance.tsv", "../growth.svg"},
		{drawSlots, "../slots.tsv", "../slots.svg"},
		{drawSoak, "../soak.tsv", "../soak.svg"},
	} {
		if err := drawing.draw(drawing.from, drawing.to); err != nil {
			log.Fatal(err)
		}
	}
}

func drawOrdering(from, to string) error {
	table, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(table)) {
		if cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); cells[0] == "200/s" && cells[2] == "2 %" && cells[3] == "no limit" {
			rows[cells[1]] = cells
		}
	}
	grid := [][]*plot.Plot{make([]*plot.Plot, 2), make([]*plot.Plot, 2)}
	for i, name := range panels {
		if grid[i/2][i%2], err = panel(name, rows[name]); err != nil {
			return err
		}
	}
	return drawGrid(grid, 22*vg.Centimeter, 18*vg.Centimeter, to)
}

func panel(name string, row []string) (*plot.Plot, error) {
	if row == nil {
		return nil, fmt.Errorf("no row for %s", name)
	}
	p := plot.New()
	p.Title.Text = name + ", 200 requests/s, 2 % lost"
	p.X.Label.Text = "admitted out of order, %"
	p.Y.Label.Text = "mean added delay, ms"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = leastShare/8, 100, leastDelay/4, 1000
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = decades, decades
	p.Add(plotter.NewGrid())
	for _, s := range strategies {
		share, err := number(row[s.column])
		if err != nil {
			return nil, err
		}
		delay, err := number(row[s.column+1])
		if err != nil {
			return nil, err
		}
		at := plotter.XYs{{X: math.Max(share, leastShare), Y: math.Max(delay, leastDelay)}}
		points, err := plotter.NewScatter(at)
		if err != nil {
			return nil, err
		}
		points.GlyphStyle = draw.GlyphStyle{Color: s.color, Radius: vg.Points(3.5), Shape: draw.CircleGlyph{}}
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: at, Labels: []string{s.name}})
		if err != nil {
			return nil, err
		}
		labels.Offset = s.label
		labels.TextStyle[0].Color = s.color
		if s.label.X < 0 {
			labels.TextStyle[0].XAlign = draw.XRight
		}
		p.Add(points, labels)
	}
	return p, nil
}

func number(cell string) (float64, error) {
	return strconv.ParseFloat(strings.TrimSuffix(cell, " %"), 64)
}

// decades are the powers of ten.
var decades = plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
	for v := math.Pow(10, math.Ceil(math.Log10(low))); v <= high*1.001; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: v, Label: short(v)})
	}
	return ticks
})

// short formats thousands and millions with k and M.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', -1, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'f', -1, 64) + "k"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
