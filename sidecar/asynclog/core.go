package asynclog

import (
	"bytes"
	"maps"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A Request is a field of a log line about a request. If the line is left out, it is
// counted under LogOutcome.
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

// NewCore returns a core that encodes into w. Make only one for each w: it also
// encodes the line that says how many lines were left out.
func NewCore(encoder zapcore.Encoder, w *Writer, level zapcore.LevelEnabler) *Core {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := encoder.Clone()
	w.backlog.report = func(leftOut map[string]uint64) []byte { return reportLine(own, leftOut) }
	return &Core{level, encoder, w}
}

// WriterOf returns the Writer that log writes to, or nil if it has none.
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

// Write implements zapcore.Core. A line above info is written without delay: it may
// be the last one of the process.
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

// reportLine returns the line that says how many lines are missing in its place.
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
