package main

import (
	"image/color"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// lastSecond is where the drawing ends.
const lastSecond = 300

// drawSlots draws how the number of slots follows engines of several sizes, from the
// first second of load on. The table's columns are engine, second, slots.
func drawSlots(from, to string) error {
	table, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	lines, order := map[string]plotter.XYs{}, []string(nil)
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) < 3 || cells[0] == "engine" {
			continue
		}
		second, err := strconv.ParseFloat(cells[1], 64)
		if err != nil {
			return err
		}
		slots, err := strconv.ParseFloat(cells[2], 64)
		if err != nil {
			return err
		}
		if lines[cells[0]] == nil {
			order = append(order, cells[0])
		}
		if second <= lastSecond {
			lines[cells[0]] = append(lines[cells[0]], plotter.XY{X: second, Y: slots})
		}
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "seconds since the load began", "slots"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, lastSecond, 0.9, 700
	p.Add(plotter.NewGrid())
	colors := []color.Color{color.RGBA{44, 160, 44, 255}, color.RGBA{31, 119, 180, 255}, color.RGBA{148, 103, 189, 255}, color.RGBA{214, 39, 40, 255}}
	for i, engine := range order {
		line, err := plotter.NewLine(lines[engine])
		if err != nil {
			return err
		}
		line.StepStyle, line.Width, line.Color = plotter.PreStep, vg.Points(1.4), colors[i%len(colors)]
		p.Add(line)
		p.Legend.Add("an engine of "+engine, line)
	}
	p.Legend.Top = true
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, to)
}
