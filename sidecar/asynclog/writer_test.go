package asynclog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A reader accepts what is written, unless it is stopped or has gone.
type reader struct {
	mu     sync.Mutex
	writes []string
	gone   error         // what a write fails with
	takes  int           // bytes of a write that are accepted before it fails
	gate   chan struct{} // a write waits until it is closed; nil: it does not wait
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		n := min(r.takes, len(p))
		r.writes = append(r.writes, string(p[:n]))
		return n, r.gone
	}
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

// stop makes writes wait until the function it returns is called.
func (r *reader) stop() (goOn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := make(chan struct{})
	r.gate = gate
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gate = nil
		close(gate)
	}
}

// fail makes writes fail after a number of bytes; with nil they succeed again.
func (r *reader) fail(err error, takes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone, r.takes = err, takes
}

func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.writes)
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.writes, "")
}

// running starts a Writer to r; the test must close it.
func running(r *reader) *Writer {
	w := resting(r)
	go w.Run()
	return w
}

// resting returns a Writer that has yet to be run.
func resting(r *reader) *Writer {
	w := New(r)
	w.backlog.report = func(leftOut map[string]uint64) []byte { return fmt.Appendf(nil, "left out: %v\n", leftOut) }
	return w
}

// say writes a line that is not urgent, about a request with the given outcome.
func (w *Writer) say(outcome, line string) {
	w.put([]byte(line), false, func() string { return outcome })
}

func TestLinesAreWrittenTogetherAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := running(&r)
		for round := range 3 {
			synctest.Wait()
			for i := range 5 {
				w.say("ok", fmt.Sprintf("%d\n", i))
			}
			time.Sleep(gatherDelay - time.Nanosecond)
			synctest.Wait()
			require.Equal(t, round, r.count(), "they wait")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Equal(t, round+1, r.count(), "but no longer than that")
		}
		require.NoError(t, w.Close())
		require.Equal(t, strings.Repeat("0\n1\n2\n3\n4\n", 3), r.text())
	})
}

func TestAFullChunkAndAnUrgentLineDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := resting(&r)
		began := time.Now()
		line := strings.Repeat("x", chunkBytes/4-1) + "\n"
		for range 9 {
			w.say("ok", line)
		}
		go w.Run()
		synctest.Wait()
		require.Equal(t, 3, r.count(), "two full ones and the rest, that was there")
		_, err := io.WriteString(w, "urgent\n")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, strings.Repeat(line, 9)+"urgent\n", r.text())
		require.Equal(t, began, time.Now())
		require.NoError(t, w.Close())
	})
}

func TestLinesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := running(&r)
		var writers sync.WaitGroup
		for i := range 4 {
			writers.Go(func() {
				for n := range 2000 {
					w.put(fmt.Appendf(nil, "%d %d\n", i, n), n%97 == 0, func() string { return "ok" })
				}
			})
		}
		writers.Wait()
		require.NoError(t, w.Close())
		next := make([]int, 4)
		for line := range strings.Lines(r.text()) {
			var i, n int
			_, err := fmt.Sscanf(line, "%d %d\n", &i, &n)
			require.NoError(t, err)
			require.Equal(t, next[i], n)
			next[i]++
		}
		require.Equal(t, []int{2000, 2000, 2000, 2000}, next)
	})
}

// While nobody reads, nobody waits: lines are kept up to the limit, then counted,
// and a line in place of the missing ones says so.
func TestAReaderThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := running(&r)
		goOn := r.stop()
		began := time.Now()
		line := strings.Repeat("x", 1023) + "\n"
		for range 2 * maxHeld / len(line) {
			w.say("ok", line)
		}
		w.say("bad_signature", "y\n") // it would fit, but not in its place
		synctest.Wait()
		require.Equal(t, began, time.Now())
		require.Equal(t, maxHeld, w.backlog.held)
		want := map[string]uint64{"ok": maxHeld / 1024, "bad_signature": 1}
		require.Equal(t, want, w.LeftOut())

		goOn()
		synctest.Wait()
		w.say("ok", "after\n")
		time.Sleep(gatherDelay)
		synctest.Wait()
		report := fmt.Sprintf("left out: %v\n", want)
		text := r.text()
		require.Equal(t, 1, strings.Count(text, "left out"))
		require.Equal(t, strings.Repeat(line, maxHeld/len(line))+report+"after\n", text)
		require.Equal(t, want, w.LeftOut(), "the total stays")
		require.LessOrEqual(t, len(w.backlog.spare), maxSpare, "what the stall took is given back")
		require.NoError(t, w.Close())
	})
}

// A reader that goes away may come back: no line that was kept is lost, and it
// begins with a whole line.
func TestAReaderThatGoesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			err  error
			want string
		}{
			"a pipe":      {syscall.EPIPE, "first\nsec" + "second\nthird\n"},
			"a full disk": {syscall.ENOSPC, "first\nsecond\nthird\n"},
		} {
			var r reader
			w := running(&r)
			r.fail(tt.err, len("first\nsec"))
			w.say("ok", "first\n")
			w.say("ok", "second\n")
			time.Sleep(gatherDelay)
			synctest.Wait()
			r.fail(tt.err, 0)
			w.say("ok", "third\n")
			time.Sleep(time.Minute)
			r.fail(nil, 0)
			time.Sleep(retryDelay + gatherDelay)
			synctest.Wait()
			require.Equal(t, tt.want, r.text(), name)
			require.NoError(t, w.Close())
			require.Empty(t, w.LeftOut())
		}
	})
}

func TestALineThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := running(&r)
		w.say("ok", string(bytes.Repeat([]byte("x"), maxHeld+1)))
		time.Sleep(gatherDelay)
		synctest.Wait()
		require.Equal(t, "left out: map[ok:1]\n", r.text())
		require.NoError(t, w.Close())
	})
}

// Close waits for the remaining lines, but for at most a second, and not for a
// reader that has gone.
func TestClose(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*reader)
		err     error
		takes   time.Duration
	}{
		"reads":      {func(*reader) {}, nil, 0},
		"gone":       {func(r *reader) { r.fail(syscall.EPIPE, 0) }, ErrLeft, 0},
		"full disk":  {func(r *reader) { r.fail(errors.New("no room"), 0) }, ErrLeft, closeTimeout},
		"soon there": {func(r *reader) { r.fail(syscall.EAGAIN, 0); time.AfterFunc(closeTimeout/2, func() { r.fail(nil, 0) }) }, nil, closeTimeout / 2},
		"stopped":    {func(r *reader) { time.AfterFunc(time.Hour, r.stop()) }, ErrLeft, closeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r reader
				w := running(&r)
				synctest.Wait()
				tt.prepare(&r)
				w.say("ok", "last\n")
				began := time.Now()
				require.ErrorIs(t, w.Close(), tt.err)
				require.Less(t, (time.Since(began) - tt.takes).Abs(), 2*gatherDelay)
				if tt.err == nil {
					require.Equal(t, "last\n", r.text())
				}
				r.fail(nil, 0)
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// However often the reader stops, every line was either written or counted, and
// the counts are in place of the missing lines.
func TestNothingIsLostUncounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := running(&r)
		line := func(n int) string { return fmt.Sprintf("%d %s\n", n, strings.Repeat("x", 4000)) }
		n := 0
		for range 5 {
			goOn := r.stop()
			for range 1500 {
				w.say("ok", line(n))
				n++
			}
			goOn()
			synctest.Wait()
			time.Sleep(time.Second)
		}
		require.NoError(t, w.Close())
		next, reports := 0, 0
		for text := range strings.Lines(r.text()) {
			var missing, got int
			if _, err := fmt.Sscanf(text, "left out: map[ok:%d]", &missing); err == nil {
				reports++
				next += missing
				continue
			}
			_, err := fmt.Sscanf(text, "%d ", &got)
			require.NoError(t, err)
			require.Equal(t, next, got)
			next++
		}
		require.Equal(t, n, next)
		require.Equal(t, 5, reports)
	})
}
