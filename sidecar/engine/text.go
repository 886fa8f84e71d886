package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/usher-sidecar/usher/config/preset"
)

// Figures are what a model server reports about its load.
type Figures struct {
	Running int // requests it is working on
	Waiting int // requests in its queue
	// Cache is the share of its KV cache that is in use, 0 to 1; of several replicas,
	// the fullest. NaN: not reported.
	Cache float64
}

// Held returns how many requests the server has.
func (f Figures) Held() int { return f.Running + f.Waiting }

const (
	// maxText is how many bytes of a server's metrics are read.
	maxText = 4 << 20
	// maxLine is the longest line, in bytes, that is read; longer ones are skipped.
	maxLine = 64 << 10
	// maxReplicas is how many replicas are distinguished.
	maxReplicas = 1024
	// maxFigure is more than any server runs; larger values are ignored.
	maxFigure = 1 << 30
)

// errNoFigures means that the metrics do not include the figures wanted.
var errNoFigures = errors.New("metrics not found")

// parse reads the figures from Prometheus' text format (version 0.0.4). It looks only
// at lines that begin with one of the names.
func parse(text io.Reader, names preset.Figures) (Figures, error) {
	running, waiting := gauge{name: names.Running}, gauge{name: names.Waiting}
	gauges := []*gauge{&running, &waiting}
	caches := make([]gauge, len(names.Cache))
	for i, name := range names.Cache {
		caches[i].name = name
		gauges = append(gauges, &caches[i])
	}
	lines := bufio.NewReaderSize(io.LimitReader(text, maxText), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		for _, g := range gauges {
			if rest, ok := bytes.CutPrefix(line, []byte(g.name)); ok && g.name != "" {
				g.take(rest, names.Replica)
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // skip the rest of a line that is too long
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Figures{}, err
		}
	}
	f := Figures{Cache: math.NaN()}
	var ok [2]bool
	f.Running, ok[0] = running.total()
	f.Waiting, ok[1] = waiting.total()
	if !ok[0] || !ok[1] {
		return Figures{}, fmt.Errorf("%w: %s, %s", errNoFigures, names.Running, names.Waiting)
	}
	for i := range caches {
		if full, ok := caches[i].most(); ok && full <= 1 {
			f.Cache = full
			break
		}
	}
	return f, nil
}

// A gauge collects the samples of one metric.
type gauge struct {
	name     string
	replicas map[string]float64 // the largest sample of each
}

// take reads a sample from rest, which follows the name on its line. Anything that is
// not a valid sample of this metric is ignored.
func (g *gauge) take(rest []byte, replica string) {
	which := ""
	if len(rest) > 0 && rest[0] == '{' {
		var ok bool
		if which, rest, ok = labels(rest[1:], replica); !ok {
			return
		}
	}
	if len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
		return // a longer name
	}
	fields := bytes.Fields(rest)
	if len(fields) != 1 && len(fields) != 2 { // the second is a timestamp
		return
	}
	value, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil || !(value >= 0 && value <= maxFigure) {
		return
	}
	if g.replicas == nil {
		g.replicas = make(map[string]float64)
	}
	if before, ok := g.replicas[which]; ok || len(g.replicas) < maxReplicas {
		g.replicas[which] = max(before, value)
	}
}

// total returns the sum over all replicas.
func (g *gauge) total() (int, bool) {
	sum := 0.0
	for _, v := range g.replicas {
		sum += v
	}
	return int(min(math.Round(sum), maxFigure)), len(g.replicas) > 0
}

// most returns the largest value of all replicas.
func (g *gauge) most() (value float64, ok bool) {
	for _, v := range g.replicas {
		value = max(value, v)
	}
	return value, len(g.replicas) > 0
}

// labels reads labels up to and including the closing brace. It returns the value of
// the wanted one, and what follows the brace.
func labels(text []byte, wanted string) (value string, rest []byte, ok bool) {
	for {
		text = bytes.TrimLeft(text, " \t,")
		if len(text) > 0 && text[0] == '}' {
			return value, text[1:], true
		}
		name, quoted, found := bytes.Cut(text, []byte(`="`))
		if !found {
			return "", nil, false
		}
		end := closing(quoted)
		if end < 0 {
			return "", nil, false
		}
		if wanted != "" && string(bytes.TrimSpace(name)) == wanted {
			value = string(quoted[:end])
		}
		text = quoted[end+1:]
	}
}

// closing returns the index of the quote that ends a label's value, or -1.
func closing(quoted []byte) int {
	for i := 0; i < len(quoted); i++ {
		switch quoted[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
