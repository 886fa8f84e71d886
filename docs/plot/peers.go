package main

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// drawPeers draws the CPU time and delays of Usher and its alternatives, each in a panel
// with a logarithmic scale, so that the slow one fits.
func drawPeers(from, to string) error {
	all, err := figures(from)
	if err != nil {
		return err
	}
	grid := [][]*plot.Plot{nil, nil}
	for i, panel := range []struct{ phase, metric, title string }{
		{"small", "CPU µs a request", "1 KB prompt: CPU µs a request"},
		{"large", "CPU µs a request", "256 KB prompt: CPU µs a request"},
		{"open", "p99 ms", "300 requests/s: p99, ms"},
		{"streams", "CPU µs a token", "streams: CPU µs a token"},
	} {
		p := plot.New()
		p.Title.Text = panel.title
		p.Y.Min, p.Y.Max = 1, 10
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades
		var names []string
		var points plotter.XYs
		for _, target := range []string{"nginx", "HAProxy", "Usher", "Python"} {
			if list := all[panel.phase+"\t"+target+"\t"+panel.metric]; len(list) > 0 {
				points = append(points, plotter.XY{X: float64(len(names)), Y: list[0].median})
				names = append(names, target)
			}
		}
		if len(points) > 0 {
			p.NominalX(names...)
			if err := addPeers(p, points, names); err != nil {
				return err
			}
		}
		grid[i/2] = append(grid[i/2], p)
	}
	return drawGrid(grid, 20*vg.Centimeter, 14*vg.Centimeter, to)
}

// addPeers draws a point for each, with its figure beside it.
func addPeers(p *plot.Plot, points plotter.XYs, names []string) error {
	var text []string
	least, most := math.Inf(1), 0.0
	for _, at := range points {
		text = append(text, rounded(at.Y))
		least, most = math.Min(least, at.Y), math.Max(most, at.Y)
	}
	scatter, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	scatter.GlyphStyleFunc = func(i int) draw.GlyphStyle {
		c := color.RGBA{31, 119, 180, 255}
		if names[i] == "Usher" {
			c = color.RGBA{214, 39, 40, 255}
		}
		return draw.GlyphStyle{Color: c, Radius: vg.Points(4), Shape: draw.CircleGlyph{}}
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: points, Labels: text})
	if err != nil {
		return err
	}
	labels.Offset = vg.Point{X: 7, Y: -3}
	p.Add(plotter.NewGrid(), scatter, labels)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.3
	p.Y.Min, p.Y.Max = least/2, most*2
	return nil
}

// rounded formats a number with three digits, or all those before the point.
func rounded(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
