package main

import (
	"io"
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar/asynclog"
)

// newLogger returns a logger that writes to w, as JSON or as text for people, the latter
// with colours if asked for.
func newLogger(cfg *config.Config, w *asynclog.Writer, colour bool) *zap.Logger {
	keys := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "msg", StacktraceKey: "stack",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	encoder := zapcore.NewJSONEncoder(keys)
	if cfg.LogFormat == config.LogConsole {
		encoder = newConsole(colour)
	}
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		level = zapcore.InfoLevel // not reached: config validates the level
	}
	return zap.New(asynclog.NewCore(encoder, w, level), zap.ErrorOutput(w))
}

// wantsColour reports whether w is a terminal and its user has not asked for plain text
// (https://no-color.org).
func wantsColour(w io.Writer, environ []string) bool {
	for _, v := range environ {
		if strings.HasPrefix(v, "NO_COLOR=") && v != "NO_COLOR=" || v == "TERM=dumb" {
			return false
		}
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
