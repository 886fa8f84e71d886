package main

import (
	"io"
	"sync"
	"time"
)

// What lines may wait for, to be written together.
const (
	lineDelay = 10 * time.Millisecond
	lineBytes = 32 << 10
)

// A lineWriter gathers lines and writes them in one system call: of a request's
// cost a line of its own would be a twelfth. None waits longer than lineDelay;
// Sync writes them at once, and is what the logger does after each line above
// info and the process before it ends. So only a process that is killed, or dies
// of a fault of the runtime, takes the lines of its last 10 ms along. When w
// takes nothing, Write waits, as it would without a lineWriter. It is safe for
// concurrent use.
type lineWriter struct {
	w io.Writer

	// writing is held while lines go out, so that they do in their order. It is
	// taken before mu, which is never held meanwhile.
	writing sync.Mutex
	spare   []byte

	mu     sync.Mutex
	lines  []byte
	timer  *time.Timer // runs while lines is not empty; nil before the first
	failed error       // what writing failed with; told to the next Write, once
}

// Write implements zapcore.WriteSyncer.
func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	first := len(l.lines) == 0
	l.lines = append(l.lines, line...)
	full := len(l.lines) >= lineBytes
	err := l.failed
	l.failed = nil
	switch {
	case full || !first:
	case l.timer == nil:
		l.timer = time.AfterFunc(lineDelay, func() { _ = l.Sync() })
	default:
		l.timer.Reset(lineDelay)
	}
	l.mu.Unlock()
	if full {
		return len(line), l.Sync()
	}
	return len(line), err
}

// Sync implements zapcore.WriteSyncer: it returns when every line is written. It
// does not ask for more than that: what the lines go to is a pipe as a rule.
func (l *lineWriter) Sync() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	lines := l.lines
	l.lines = l.spare[:0]
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	if len(lines) == 0 {
		l.spare = lines
		return nil
	}
	_, err := l.w.Write(lines)
	l.spare = lines
	if err != nil {
		l.mu.Lock()
		l.failed = err
		l.mu.Unlock()
	}
	return err
}
