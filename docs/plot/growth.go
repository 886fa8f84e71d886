package main

import (
	"image/color"
	"math"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Each row of panels draws a request's cost against one of these.
var growths = []string{"waiting requests", "open streams", "body, KB", "replay window", "distinct clients", "cores"}

// A figure is a line of docs/performance.tsv.
type figure struct{ x, median, low, high float64 }

// figures reads the table that test/bench writes, with the columns phase, target,
// metric, x, median, low, high.
func figures(path string) (map[string][]figure, error) {
	table, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string][]figure{}
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) < 7 || cells[0] == "phase" {
			continue
		}
		var f figure
		for i, to := range []*float64{&f.x, &f.median, &f.low, &f.high} {
			if *to, err = strconv.ParseFloat(cells[3+i], 64); err != nil {
				return nil, err
			}
		}
		name := strings.Join(cells[:3], "\t")
		all[name] = append(all[name], f)
	}
	return all, nil
}

// drawGrowth draws the CPU time and p99 of a request against the size of each thing,
// with the spread of the rounds as error bars.
func drawGrowth(from, to string) error {
	all, err := figures(from)
	if err != nil {
		return err
	}
	grid := make([][]*plot.Plot, len(growths))
	for r, by := range growths {
		for _, metric := range []string{"CPU µs a request", "p99 ms"} {
			p, err := growthPanel(by, metric, all["growth by "+by+"\tUsher\t"+metric])
			if err != nil {
				return err
			}
			grid[r] = append(grid[r], p)
		}
	}
	return drawGrid(grid, 20*vg.Centimeter, vg.Length(len(growths))*6*vg.Centimeter, to)
}

func growthPanel(by, metric string, list []figure) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = by, metric
	p.Add(plotter.NewGrid())
	if len(list) == 0 {
		return p, nil
	}
	if by != "cores" {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades
	}
	var points plotter.XYs
	bars := errorBars{}
	for _, f := range list {
		points = append(points, plotter.XY{X: f.x, Y: f.median})
		bars.YErrors = append(bars.YErrors, struct{ Low, High float64 }{f.median - f.low, f.high - f.median})
		p.Y.Max = math.Max(p.Y.Max, f.high*1.1)
	}
	bars.XYs = points
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	line.Color = color.RGBA{214, 39, 40, 255}
	errs, err := plotter.NewYErrorBars(bars)
	if err != nil {
		return nil, err
	}
	p.Add(line, errs)
	p.Y.Min = 0
	if p.Y.Max > 50*list[0].median && by != "cores" { // it grows with the size, as the body does
		p.Y.Min, p.Y.Scale, p.Y.Tick.Marker = list[0].low/2, plot.LogScale{}, decades
	}
	return p, nil
}

type errorBars struct {
	plotter.XYs
	plotter.YErrors
}

// drawGrid draws panels in rows and columns.
func drawGrid(grid [][]*plot.Plot, width, height vg.Length, to string) error {
	image := vgsvg.New(width, height)
	canvas := draw.New(image)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	tiles := draw.Tiles{
		Rows: len(grid), Cols: len(grid[0]), PadX: vg.Centimeter, PadY: vg.Centimeter,
		PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 24,
	}
	for r, row := range plot.Align(grid, tiles, canvas) {
		for c := range row {
			grid[r][c].Draw(row[c])
		}
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := image.WriteTo(file); err != nil {
		return err
	}
	return file.Close()
}
