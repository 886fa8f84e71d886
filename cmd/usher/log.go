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

// newLogger writes lines to w, as JSON or for people, for those in colour if asked.
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
		level = zapcore.InfoLevel // the settings allow no other word
	}
	return zap.New(asynclog.NewCore(encoder, w, level), zap.ErrorOutput(w))
}

// wantsColour reports whether w is a terminal whose user did not ask for plain text
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
