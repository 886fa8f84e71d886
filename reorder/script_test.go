package reorder

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func fixed() Config {
	return Config{Capacity: 100, Bytes: 1 << 20, Timeout: 10 * time.Second, Hold: 100 * ms, MaxHold: time.Second}
}

// A bench runs scripts against a sequencer and remembers how each request ended.
type bench struct {
	t   require.TestingT
	q   *sequencer
	now time.Duration
	in  map[string]*waiter
	id  map[*waiter]string
}

func newBench(t require.TestingT, cfg Config) *bench {
	q := newSequencer(cfg, fixedHold(cfg.Hold), func() *waiter { return new(waiter) })
	return &bench{t: t, q: q, now: 1, in: map[string]*waiter{}, id: map[*waiter]string{}}
}

// other is a second series of a script.
var other = Series(1)

// step does one word of a script: "5" arrives, "b5" in the other series, "u" an
// unordered one, "-5" leaves, "free" gives a slot back, "slots=3" changes their number,
// "+20ms" lets time pass, "restart" and "restartb" begin a series anew, "x5" comes and
// needs no slot. It returns the words for those decided on: "5", "5 full", "5 timeout".
func (b *bench) step(word string) (out []string) {
	switch {
	case word == "free":
		b.q.release(b.now)
	case word == "restart":
		b.q.restart(Series(0), b.now)
	case word == "restartb":
		b.q.restart(other, b.now)
	case strings.HasPrefix(word, "slots="):
		slots, err := strconv.Atoi(word[len("slots="):])
		require.NoError(b.t, err)
		b.q.resize(slots, b.now)
	case word[0] == '+':
		d, err := time.ParseDuration(word[1:])
		require.NoError(b.t, err)
		end := b.now + d
		for at := b.q.wake(); at <= end; at = b.q.wake() {
			b.now = max(b.now, at)
			b.q.advance(b.now)
			out = append(out, b.taken()...)
		}
		b.now = end
	case word[0] == 'x':
		var n int64
		_, _ = fmt.Sscan(word[1:], &n)
		b.q.passOver(Series(0), n, b.now)
	case word[0] == '-':
		b.q.leave(b.in[word[1:]], b.now)
	default:
		name, bytes, _ := strings.Cut(word, ":")
		r := Request{Unordered: name[0] == 'u'}
		_, _ = fmt.Sscan(bytes, &r.Bytes)
		if name[0] == 'b' {
			r.Series = other
		}
		_, _ = fmt.Sscan(strings.TrimLeft(name, "ub"), &r.Number)
		return b.arrive(name, r)
	}
	return append(out, b.taken()...)
}

// arrive returns whom an arrival settles, the newcomer first if it is one of them.
func (b *bench) arrive(name string, r Request) (out []string) {
	w, v := b.q.arrive(r, b.now)
	switch v {
	case admitted:
		out = append(out, name)
	case full:
		out = append(out, name+"!")
	default:
		b.in[name], b.id[w] = w, name
	}
	return append(out, b.taken()...)
}

func (b *bench) taken() (out []string) {
	for w := b.q.settled.take(); w != nil; w = w.nextSettled {
		out = append(out, b.id[w]+map[verdict]string{admitted: "", full: "!", timedOut: "?"}[w.verdict])
	}
	return out
}

// Each script is steps and what each of them decides: "step>decided,decided"; !
// is refused for want of room, ? is timed out.
func TestScripts(t *testing.T) {
	small := fixed()
	small.Slots, small.Capacity = 1, 2
	bytes := fixed()
	bytes.Slots, bytes.Bytes = 1, 10
	none := fixed()
	none.Capacity, none.Slots = 0, 1
	off := fixed()
	off.Hold = 0
	one := fixed()
	one.Slots = 1
	two := fixed()
	two.Slots = 2
	tests := []struct {
		name   string
		cfg    Config
		script string
	}{
		{"in order", fixed(), "7>7 8>8 9>9"},
		{"the first is not held, nor those after it", fixed(), "1000>1000 1001>1001"},
		{"a gap fills", fixed(), "1>1 3 4 2>2,3,4 5>5"},
		{"a gap is given up", fixed(), "1>1 3 +99ms +1ms>3 4>4"},
		{"late goes at once", fixed(), "1>1 3 +100ms>3 2>2 1>1"},
		{"lower ones go before a higher one whose hold is over", fixed(), "1>1 9 +60ms 5 4 +40ms>4,5,9"},
		{"each gap has its own hold", fixed(), "1>1 3 +50ms 6 +50ms>3 4>4 5>5,6"},
		{"a gap within a gap", fixed(), "1>1 3 5 2>2,3 4>4,5"},
		{"no holding", off, "1>1 5>5 3>3 9>9"},
		{"queue goes by number", one, "1>1 9 4 7 2 free>2 free>4 free>7 free>9 free"},
		{"no hold on top of the queue", one, "1>1 5 free>5"},
		{"late in the queue", one, "5>5 3 6 free>3 free>6"},
		{"held, then no slot free, then one", two, "1>1 2>2 free 4 3>3 free>4"},
		{"held while slots run out keeps its hold", two, "1>1 3 2>2 free>3"},
		{"a hold that runs out with no slot free", one, "1>1 free 3 1>1 +200ms free>3"},
		{"full: the highest goes", small, "1>1 5 6 4>6! 9>9! free>4 free>5"},
		{"full: an equal number, the later one", small, "1>1 5 6 6>6!"},
		{"held ones count", func() Config { c := fixed(); c.Capacity = 1; return c }(), "1>1 4 5>5! 3>4! 2>2,3"},
		{"bytes", bytes, "1>1 5:6 6:5>6! 4:6>5! free>4"},
		{"bytes: nobody is refused in vain", bytes, "1>1 3:6 9:4 5:5>5! free>3 free>9"},
		{"more bytes than there are", bytes, "1>1 5:2 3:11>3! free>5"},
		{"nothing may wait", none, "1>1 2>2! free 9>9 free 3>3"},
		{"time-out", one, "1>1 3 +5s 2 +5s>3? +5s>2?"},
		{"one that left is not waited for", fixed(), "1>1 3 2>2,3 6 5 -5 4>4,6 5>5"},
		{"the lowest leaves", one, "1>1 3 5 -3 free>5"},
		{"unordered goes at once", fixed(), "u1>u1 u2>u2 5>5 u3>u3 6>6"},
		{"unordered is not held with others", fixed(), "1>1 3 u1>u1 2>2,3"},
		{"unordered waits by arrival", one, "u1>u1 u2 u3 u4 free>u2 free>u3 free>u4"},
		{"numbers start again", fixed(), "500>500 502 restart>502 1>1 2>2 4 3>3,4"},
		{"more slots let the lowest go, in order", one, "1>1 9 4 7 2 slots=3>2,4 free>7 slots=4>9"},
		{"no limit any more", one, "1>1 9 4 slots=0>4,9 20 +100ms>20"},
		{"fewer slots than are taken", two, "1>1 2>2 3 slots=1 free free>3 4 slots=1 free>4"},
		{"a held one waits for a slot when there are fewer", two, "1>1 3 slots=1 +200ms slots=2>3 2 free>2"},
		{"a held one is still held when there are more", two, "1>1 3 slots=3 +99ms +1ms>3"},
		{"one that needs no slot fills its gap", fixed(), "1>1 3 x2>3 4>4"},
		{"one ahead that needs no slot is not missing", fixed(), "1>1 x3 4 2>2,4 5>5"},
		{"the first needs no slot", fixed(), "x7 8>8"},
		{"one that needs no slot takes no room", small, "1>1 5 6 x4 x9 free>5 free>6"},
		{"two series take turns", one, "1>1 2 3 4 b1000 b1001 free>b1000 free>2 free>b1001 free>3 free>4"},
		{"each series has its own gaps", fixed(), "100>100 101>101 b5000>b5000 103 b5002 102>102,103 b5001>b5001,b5002"},
		{"each series gives up its own gaps", fixed(), "1>1 b1>b1 3 +50ms b3 +50ms>3 +50ms>b3"},
		{"a lower number of another series passes one that is held", fixed(), "900>900 902 b1>b1 b2>b2 901>901,902"},
		{"what was not used is not made up for", one,
			"1>1 b1 free>b1 2 free>2 3 free>3 4 free>4 5 6 7 b2 b3 b4 free>b2 free>5 free>b3 free>6 free>b4 free>7"},
		{"the highest of all series goes first", small, "1>1 2 3 b900>3! b901>b901! free>b900 free>2"},
		{"a new series goes behind those that wait", one, "1>1 3 2 restartb b9 4 free>2 free>3 free>b9 free>4"},
		{"a new series after the largest number", one,
			"9223372036854775807>9223372036854775807 restartb b9 b8 free>b8 free>b9 free 7>7 b10 8 free>b10 free>8"},
		{"largest number", fixed(), "9223372036854775806>9223372036854775806 9223372036854775807>9223372036854775807 5>5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.cfg)
			for i, step := range strings.Fields(tt.script) {
				word, want, _ := strings.Cut(step, ">")
				require.Equal(t, want, strings.Join(b.step(word), ","), "step %d: %s", i, word)
			}
		})
	}
}
