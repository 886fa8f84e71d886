package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config"
)

// A sink notes each write.
type sink struct {
	mu     sync.Mutex
	writes []string
	err    error
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, string(p))
	return len(p), s.err
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.writes)
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.writes, "")
}

func TestLinesAreWrittenTogetherAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		l := &lineWriter{w: &s}
		for round := range 3 {
			for i := range 5 {
				_, err := fmt.Fprintf(l, "%d\n", i)
				require.NoError(t, err)
			}
			time.Sleep(lineDelay - time.Nanosecond)
			synctest.Wait()
			require.Equal(t, round, s.count(), "they wait")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Equal(t, round+1, s.count(), "but no longer than that")
		}
		require.Equal(t, strings.Repeat("0\n1\n2\n3\n4\n", 3), s.text())
	})
}

func TestLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		l := &lineWriter{w: &s}
		line := bytes.Repeat([]byte("x"), lineBytes/4)
		for range 9 {
			_, err := l.Write(line)
			require.NoError(t, err)
		}
		require.Equal(t, 2, s.count(), "what is full goes at once")
		require.NoError(t, l.Sync())
		require.Len(t, s.text(), 9*len(line))
		require.NoError(t, l.Sync())
		require.Equal(t, 3, s.count(), "nothing is written twice")
	})
}

func TestLinesKeepTheirOrder(t *testing.T) {
	var s sink
	l := &lineWriter{w: &s}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 2000 {
				_, _ = fmt.Fprintf(l, "%d %d\n", w, i)
				if i%97 == 0 {
					_ = l.Sync()
				}
			}
		})
	}
	writers.Wait()
	require.NoError(t, l.Sync())
	next := make([]int, 4)
	for line := range strings.Lines(s.text()) {
		var w, i int
		_, err := fmt.Sscanf(line, "%d %d\n", &w, &i)
		require.NoError(t, err)
		require.Equal(t, next[w], i)
		next[w]++
	}
	require.Equal(t, []int{2000, 2000, 2000, 2000}, next)
}

func TestAFailedWriteIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sink{err: errors.New("no room")}
		l := &lineWriter{w: &s}
		_, err := io.WriteString(l, "a\n")
		require.NoError(t, err)
		time.Sleep(lineDelay)
		synctest.Wait()
		_, err = io.WriteString(l, "b\n")
		require.ErrorIs(t, err, s.err)
		require.ErrorIs(t, l.Sync(), s.err)
	})
}

// What is above info may be the last that is heard of the process.
func TestWarningsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		log := newLogger(&config.Config{LogLevel: "info"}, &s, false)
		log.Info("a")
		require.Empty(t, s.text())
		log.Warn("b")
		require.Equal(t, 2, strings.Count(s.text(), "\n"))
		log.Info("c")
		log.Error("d")
		require.Equal(t, 4, strings.Count(s.text(), "\n"))
		log.Info("e")
		require.NoError(t, log.Sync())
		require.Equal(t, 5, strings.Count(s.text(), "\n"))
	})
}
