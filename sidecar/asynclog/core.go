package asynclog

import (
	"bytes"
	"maps"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A Request is what is logged of one: its outcome counts a line that is left out.
type Request interface {
	LogOutcome() string
}

// A Core is a zapcore.Core over a Writer. Make it with NewCore. Safe for
// concurrent use.
type Core struct {
	zapcore.LevelEnabler
	encoder zapcore.Encoder
	w       *Writer
}

// NewCore returns a core that encodes into w. w has one core: the line that
// counts what was left out is encoded by it.
func NewCore(encoder zapcore.Encoder, w *Writer, level zapcore.LevelEnabler) *Core {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := encoder.Clone()
	w.report = func(leftOut map[string]uint64) []byte { return reportLine(own, leftOut) }
	return &Core{level, encoder, w}
}

// WriterOf returns what log writes to; nil: no Writer.
func WriterOf(log *zap.Logger) *Writer {
	if c, ok := log.Core().(*Core); ok {
		return c.w
	}
	return nil
}

// With implements zapcore.Core.
func (c *Core) With(fields []zapcore.Field) zapcore.Core {
	encoder := c.encoder.Clone()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	return &Core{c.LevelEnabler, encoder, c.w}
}

// Check implements zapcore.Core.
func (c *Core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core. A line above info may be the last that is heard
// of the process, and waits for no others.
func (c *Core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	line, err := c.encoder.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	c.w.put(line.Bytes(), e.Level > zapcore.InfoLevel, func() string { return outcomeOf(fields) })
	line.Free()
	return nil
}

// Sync implements zapcore.Core; it does not wait.
func (c *Core) Sync() error { return c.w.Sync() }

func outcomeOf(fields []zapcore.Field) string {
	for i := range fields {
		if r, ok := fields[i].Interface.(Request); ok {
			return r.LogOutcome()
		}
	}
	return OutcomeNone
}

// reportLine tells how many lines are missing where it stands.
func reportLine(encoder zapcore.Encoder, leftOut map[string]uint64) []byte {
	var sum uint64
	outcomes := make([]zapcore.Field, 0, len(leftOut))
	for _, o := range slices.Sorted(maps.Keys(leftOut)) {
		sum += leftOut[o]
		outcomes = append(outcomes, zap.Uint64(o, leftOut[o]))
	}
	var line bytes.Buffer
	log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&line), zapcore.WarnLevel))
	log.Warn("log lines left out", zap.Uint64("left_out", sum), zap.Dict("outcomes", outcomes...))
	return line.Bytes()
}
