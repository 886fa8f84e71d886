package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// A soakPanel is one panel of the drawing.
type soakPanel struct {
	title          string
	usher, control int // columns; a control of 0: there is none
}

// The panels of a soak: columns of docs/soak.tsv against time, Usher's and the control's
// if there is one.
var soakPanels = []soakPanel{
	{"MB resident; grey: heap that lives", 1, 2},
	{"descriptors; grey: goroutines", 3, 4},
	{"request, p50 ms; grey: direct", 10, 11},
	{"request, p99 ms; grey: direct", 12, 13},
	{"token, p99 ms; grey: direct", 14, 15},
	{"longest pause, ms; grey: the load's", 8, 9},
}

// drawSoak draws how Usher fared over an hour, from the table that test/bench writes.
func drawSoak(from, to string) error {
	table, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var rows [][]float64
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if cells[0] == "second" {
			continue
		}
		row := make([]float64, len(cells))
		for i := range cells {
			if row[i], err = strconv.ParseFloat(cells[i], 64); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s has no samples", from)
	}
	grid := make([][]*plot.Plot, len(soakPanels)/2)
	for i, panel := range soakPanels {
		p, err := soakPlot(rows, panel)
		if err != nil {
			return err
		}
		grid[i/2] = append(grid[i/2], p)
	}
	return drawGrid(grid, 20*vg.Centimeter, 18*vg.Centimeter, to)
}

func soakPlot(rows [][]float64, panel soakPanel) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = panel.title, "minutes"
	p.Add(plotter.NewGrid())
	low, high := math.Inf(1), 0.0
	for _, line := range []struct {
		column int
		color  color.Color
	}{{panel.control, color.RGBA{150, 150, 150, 255}}, {panel.usher, color.RGBA{214, 39, 40, 255}}} {
		var points plotter.XYs
		for _, row := range rows {
			if y := row[line.column]; y > 0 && line.column > 0 {
				points = append(points, plotter.XY{X: row[0] / 60, Y: y})
				low, high = math.Min(low, y), math.Max(high, y)
			}
		}
		if len(points) == 0 {
			continue
		}
		drawn, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		drawn.Color, drawn.Width = line.color, vg.Points(0.7)
		p.Add(drawn)
	}
	p.X.Min, p.X.Max = 0, rows[len(rows)-1][0]/60
	// A little beyond the decades, so that rounding loses none.
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(low)))*0.99, math.Pow(10, math.Ceil(math.Log10(high)))*1.01
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades
	return p, nil
}
