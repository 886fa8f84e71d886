package benchmark

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
)

// maxFile is how many bytes of the file are read.
const maxFile = 64 << 10

// conditions are those under which a figure was measured. It is only valid under the
// same ones.
type conditions struct {
	Route       string `json:"route"`
	Engine      string `json:"engine"`
	Body        string `json:"body"` // hex SHA-256; "": the default one
	Concurrency int    `json:"concurrency"`
}

func (b *Benchmark) conditions() conditions {
	c := conditions{Route: b.o.Route, Engine: b.o.Engine, Concurrency: b.o.Concurrency}
	if b.o.Body != nil {
		sum := sha256.Sum256(b.o.Body)
		c.Body = hex.EncodeToString(sum[:])
	}
	return c
}

// kept reads the figure of an earlier measurement: 0 if there is none, or if it was
// measured under other conditions. The file's first line is the figure, which is all
// that the Python worker wrote and reads; the second is the conditions. Without a
// second line the figure is accepted as it is.
func (b *Benchmark) kept() (float64, error) {
	if b.o.File == "" {
		return 0, nil
	}
	f, err := os.Open(b.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(io.LimitReader(f, maxFile))
	lines.Scan()
	figure, err := strconv.ParseFloat(strings.TrimSpace(lines.Text()), 64)
	if err != nil || !(figure > 0) || math.IsInf(figure, 0) {
		return 0, fmt.Errorf("%s does not begin with a number above 0; the benchmark is run again", b.o.File)
	}
	if lines.Scan() && strings.TrimSpace(lines.Text()) != "" {
		var c conditions
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return 0, fmt.Errorf("%s: %w; the benchmark is run again", b.o.File, err)
		}
		if c != b.conditions() {
			return 0, nil
		}
	}
	return figure, lines.Err()
}

// keep stores the figure. Readers never see a half-written file.
func (b *Benchmark) keep(figure float64) error {
	if b.o.File == "" {
		return nil
	}
	c, err := json.Marshal(b.conditions())
	if err != nil {
		return err
	}
	text := strconv.FormatFloat(figure, 'f', -1, 64) + "\n" + string(c) + "\n"
	draft := b.o.File + ".new"
	if err := os.WriteFile(draft, []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(draft, b.o.File); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return nil
}
