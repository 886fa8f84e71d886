//go:build unix

package replay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/test/full"
)

// crashChild tells the test binary to be the process that is killed; its value
// is the state file, the journal, the key in force, the seed, and the longest
// life in microseconds.
const crashChild = "USHER_REPLAY_CRASH"

// crashConfig configures the ledger under test. Its window begins inside a word.
func crashConfig(path string) Config { return Config{Window: 100, ResetAfter: 3, Path: path} }

// The journal is a file of words, mapped by the process that is killed: what it
// is about to do, and after that what came of it. A SIGKILL does not undo either.
const (
	doReserve = 1 + iota
	doCommit
	doRelease
	doRotate
)

const (
	cameOK = 1 + iota // 0: it was killed before it could say
	cameStale
	cameReplayed
	cameUnknown
	cameReset
)

const journalEntries = 4096

// An entry is one step. n is a number, or the place of a reservation's entry.
type entry struct {
	what, key byte
	n         int64
	came      byte
}

type journal []uint64

func mapJournal(t testing.TB, path string) journal {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	const size = journalEntries * 16
	require.NoError(t, f.Truncate(size))
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Munmap(data) })
	return unsafe.Slice((*uint64)(unsafe.Pointer(&data[0])), size/8)
}

func (j journal) begin(i int, what, key byte, n int64) {
	atomic.StoreUint64(&j[2*i], uint64(what)<<56|uint64(key)<<48|uint64(n))
}

func (j journal) end(i int, came uint64) { atomic.StoreUint64(&j[2*i+1], came) }

func (j journal) entry(i int) entry {
	w := j[2*i]
	return entry{byte(w >> 56), byte(w >> 48), int64(w & (1<<48 - 1)), byte(j[2*i+1])}
}

// crash lives a life that is ended by a SIGKILL at a random moment: it opens the
// ledger, which may have to make the file first, and uses it in every way.
func crash(t *testing.T, setup string) {
	var seed uint64
	var life int64
	var current byte
	parts := strings.SplitN(setup, "|", 3)
	_, err := fmt.Sscan(parts[2], &current, &seed, &life)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(seed, 1))
	j := mapJournal(t, parts[1])
	deadline := time.Duration(random.Int64N(life)) * time.Microsecond
	go func() {
		time.Sleep(deadline)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}()
	l := openUnlocked(t, parts[0])

	type taken struct {
		r     Reservation
		entry int
	}
	var open []taken
	keys := []byte{current}
	near := max(0, l.Stats().Highest)
	for i := range journalEntries {
		what := random.IntN(100)
		switch {
		case i == 0 || what == 0: // every life begins with the key in force
			k := current
			if i > 0 {
				k = 1 + byte(random.IntN(3))
			}
			j.begin(i, doRotate, k, 0)
			l.Rotate(key(k))
			j.end(i, cameOK)
			keys = append(keys[max(0, len(keys)-3):], k)
		case what < 45 && len(open) > 0:
			which := random.IntN(len(open))
			p := open[which]
			open = append(open[:which], open[which+1:]...)
			if random.IntN(4) > 0 {
				j.begin(i, doCommit, 0, int64(p.entry))
				p.r.Commit()
			} else {
				j.begin(i, doRelease, 0, int64(p.entry))
				p.r.Release()
			}
			j.end(i, cameOK)
		default:
			n := near + []int64{1, 1, 1, 2, 7, 40, -3, -30, -90, 500, 9000, -200}[random.IntN(12)]
			if what > 97 {
				n = random.Int64N(1 << 20)
			}
			n = max(0, n)
			k := keys[random.IntN(len(keys))]
			j.begin(i, doReserve, k, n)
			r, err := l.Reserve(key(k), n)
			j.end(i, came(&r, err))
			if err == nil {
				near = n
				open = append(open, taken{r, i})
			}
		}
	}
	select {} // until it is killed
}

// openUnlocked waits for a lock to go away: a process that is being started holds
// for a moment what the test itself had open.
func openUnlocked(t *testing.T, path string) *Ledger {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		l, err := Open(crashConfig(path))
		if errors.Is(err, ErrLocked) && time.Now().Before(deadline) {
			continue
		}
		require.NoError(t, err)
		return l
	}
}

func came(r *Reservation, err error) uint64 {
	switch {
	case errors.Is(err, ErrStale):
		return cameStale
	case errors.Is(err, ErrReplayed):
		return cameReplayed
	case errors.Is(err, ErrUnknownKey):
		return cameUnknown
	case r.Reset():
		return cameReset
	}
	return cameOK
}

// A process that creates, opens and uses the state file in every way is killed at
// random moments, and the next one uses its file. After each kill the file opens
// and holds exactly what had been committed.
func TestKilledAtRandom(t *testing.T) {
	if setup := os.Getenv(crashChild); setup != "" {
		crash(t, setup)
	}
	kills := 100
	if full.Run() && !raceEnabled {
		kills = 2000
	}
	const workers = 2
	for worker := range workers {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			killAtRandom(t, kills/workers, uint64(worker))
		})
	}
}

func killAtRandom(t *testing.T, kills int, worker uint64) {
	dir := t.TempDir()
	path, log := filepath.Join(dir, "window"), filepath.Join(dir, "journal")
	j := mapJournal(t, log)
	var m *crashModel
	steps, unmade, again := 0, 0, false
	slow := 1 // lives are so much longer: on a busy disk the file may take long to make
	for round := range kills {
		if round%20 == 0 || again { // begin again, so that the making of the file is hit, too
			again = false
			require.NoError(t, os.RemoveAll(path))
			m = &crashModel{windows: map[byte]*crashWindow{}, current: 1}
			m.windows[1] = &crashWindow{model: newModel(100)}
		}
		life := 3000 * slow
		if round%20 == 0 {
			life = 400
		}
		clear(j)
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtRandom$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d %d %d", crashChild, path, log, m.current, worker<<32|uint64(round), life))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "it was not killed: %s", out)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)

		_, err = os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			require.Zero(t, j[0], "it used a file that is not there")
			unmade++
			slow = min(2*slow, 1<<10)
			continue
		}
		l := openUnlocked(t, path)
		if !l.windows.list[l.windows.current].valid() && j[0] == 0 {
			require.NoError(t, l.Close()) // just made, by one that was killed before it named its key
			unmade++
			continue
		}
		if !l.windows.list[l.windows.current].valid() && j[1] == 0 {
			require.NoError(t, l.Close()) // killed while it named its key
			continue
		}
		slow = 1
		steps += m.replay(t, j, l)
		if !l.windows.list[l.windows.current].valid() {
			// Only a reset does that, between the old window and the new one.
			require.Nil(t, m.windows[m.current], "the window of the key in force is gone")
			again = true
		}
		m.verify(t, l)
		require.NoError(t, l.Close())
	}
	t.Logf("%d kills, %d steps survived them, %d before the file was in use", kills, steps, unmade)
	require.Positive(t, steps)
}
