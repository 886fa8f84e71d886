package asynclog

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var keys = zapcore.EncoderConfig{
	TimeKey: "time", LevelKey: "level", MessageKey: "msg",
	EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
}

// A request has an outcome, and padding that makes its line long.
type request struct{ outcome, text string }

func (r *request) LogOutcome() string { return r.outcome }

func (r *request) MarshalLogObject(to zapcore.ObjectEncoder) error {
	to.AddString("outcome", r.outcome)
	to.AddString("text", r.text)
	return nil
}

func logger(r *reader) (*zap.Logger, *Writer) {
	w := New(r)
	go w.Run()
	return zap.New(NewCore(zapcore.NewJSONEncoder(keys), w, zap.InfoLevel)), w
}

// Lines about requests are counted by outcome, all others together; the line that
// says how many looks like any other.
func TestLinesLeftOutAreCountedByOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		log, w := logger(&r)
		goOn := r.stop()
		log.Info("filler", zap.String("text", strings.Repeat("x", maxHeld-1000)))
		log.Info("request", zap.Inline(&request{"ok", strings.Repeat("x", 1000)}))
		for range 3 {
			log.Info("request", zap.Inline(&request{"ok", ""}))
			log.Info("request", zap.Inline(&request{"bad_signature", ""}))
		}
		log.Debug("not asked for")
		log.Warn("model server is not healthy")
		want := map[string]uint64{"ok": 4, "bad_signature": 3, OutcomeNone: 1}
		require.Equal(t, want, w.LeftOut())
		goOn()
		require.NoError(t, w.Close())
		lines := strings.Split(strings.TrimSpace(r.text()), "\n")
		require.Len(t, lines, 2)
		var said struct {
			Level, Msg string
			Time       time.Time
			LeftOut    uint64 `json:"left_out"`
			Outcomes   map[string]uint64
		}
		require.NoError(t, json.Unmarshal([]byte(lines[1]), &said))
		require.Equal(t, "warn", said.Level)
		require.Equal(t, "log lines left out", said.Msg)
		require.EqualValues(t, 8, said.LeftOut)
		require.Equal(t, want, said.Outcomes)
		require.True(t, time.Now().Equal(said.Time))
	})
}

// Neither a warning nor zap's Sync after a line above error waits.
func TestNoLevelWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		log, w := logger(&r)
		goOn := r.stop()
		began := time.Now()
		log.Warn("a")
		log.Error("b")
		log.DPanic("c")
		require.NoError(t, log.Sync())
		require.Equal(t, began, time.Now())
		goOn()
		synctest.Wait()
		require.Equal(t, 3, strings.Count(r.text(), "\n"), "but they are written at once")
		require.Equal(t, began, time.Now())
		require.NoError(t, w.Close())
	})
}

func TestFieldsOfWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		log, w := logger(&r)
		log.With(zap.String("part", "x")).Info("a")
		log.Info("b")
		require.NoError(t, w.Close())
		lines := strings.Split(r.text(), "\n")
		require.Contains(t, lines[0], `"part":"x"`)
		require.NotContains(t, lines[1], "part")
	})
}

func TestWriterOf(t *testing.T) {
	w := New(io.Discard)
	require.Same(t, w, WriterOf(zap.New(NewCore(zapcore.NewJSONEncoder(keys), w, zap.InfoLevel))))
	require.Nil(t, WriterOf(zap.NewNop()))
}

// BenchmarkLine is the cost of a request's line, compared with only encoding it.
func BenchmarkLine(b *testing.B) {
	w := New(io.Discard)
	go w.Run()
	defer func() { _ = w.Close() }()
	for name, core := range map[string]zapcore.Core{
		"encoded": zapcore.NewCore(zapcore.NewJSONEncoder(keys), zapcore.AddSync(io.Discard), zap.InfoLevel),
		"queued":  NewCore(zapcore.NewJSONEncoder(keys), w, zap.InfoLevel),
	} {
		log := zap.New(core)
		b.Run(name, func(b *testing.B) {
			r := &request{"ok", strings.Repeat("x", 200)}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					log.Info("request", zap.Inline(r))
				}
			})
		})
	}
}
