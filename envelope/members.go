package envelope

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/usher-sidecar/usher/dialect"
)

// limits is what one body says in the members that state work.
type limits struct {
	value [dialect.MemberCount]uint64 // the number, or the count of prompts
	state [dialect.MemberCount]state
	cased [dialect.MemberCount]bool // it appears under a name that differs in case
}

// A state is what is known about one of these members.
type state uint8

const (
	absent state = iota
	null
	whole    // a number from 0 to math.MaxInt64, an object, or prompts
	negative // a number below 0
	beyond   // a number above math.MaxInt64
	faulty   // anything else
	twice    // it appears twice
)

// set records a member.
func (l *limits) set(m dialect.Member, s state, value uint64) {
	if l.state[m] != absent {
		s = twice
	}
	l.state[m], l.value[m] = s, value
}

// read reads a member of the model's body, or of the object in within it, and
// records it if it states work.
func (l *limits) read(w *walker, in dialect.Member, name []byte) (v value, err error) {
	m := dialect.Find(in, name)
	if m == dialect.Body {
		if in == dialect.Body {
			l.cased[dialect.FindFolded(name)] = true // of no use for an unknown name, which is Body
		}
		return w.value()
	}
	state, n := faulty, uint64(0)
	switch m.Kind() {
	case dialect.Object:
		v, err = w.within(nil, func(name []byte, _ int) error {
			_, err := l.read(w, m, name)
			return err
		})
		if v.kind == '{' {
			state = whole
		}
	case dialect.Prompts:
		v, n, err = prompts(w)
		state = whole
	default:
		if v, err = w.value(); v.kind == '0' {
			state, n = number(w.raw(v))
		}
	}
	if v.kind == 'n' {
		state, n = null, 0
	}
	l.set(m, state, n)
	return v, err
}

// prompts reads a member that holds prompts and counts them. A string is one, and
// so is an array of numbers, which are its tokens; in any other array, each element
// that is not a number is one.
func prompts(w *walker) (v value, n uint64, err error) {
	if w.json.peek() != '[' {
		if v, err = w.value(); v.to-v.from > len(`""`) {
			n = 1
		}
		return v, n, err
	}
	from := w.json.at
	numbers, others, ok := w.json.elements()
	if !ok {
		return value{}, 0, w.syntax()
	}
	n = uint64(others)
	if n == 0 && numbers > 0 {
		n = 1
	}
	return value{from, w.json.at, '['}, n, nil
}

// number evaluates a number that states work, however it is written.
func number(literal []byte) (state, uint64) {
	if n, err := strconv.ParseUint(string(literal), 10, 63); err == nil {
		return whole, n
	}
	text := string(literal)
	// With a fraction or an exponent it may still be whole. The float bounds its
	// size before the exact arithmetic below, which would take too long on 1e999999.
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case f < 0:
		return negative, 0
	case f > math.MaxInt64: // or infinite
		return beyond, 0
	case err != nil || text[0] == '-' || f > 0 && f < 1 || len(text) > maxExactDigits:
		return faulty, 0
	case f == 0:
		if strings.ContainsAny(mantissa(text), "123456789") {
			return faulty, 0 // not zero, only too small for a float64
		}
		return whole, 0
	}
	r, ok := new(big.Rat).SetString(text)
	switch {
	case !ok || !r.IsInt():
		return faulty, 0
	case !r.Num().IsInt64():
		return beyond, 0
	}
	return whole, r.Num().Uint64()
}

// maxExactDigits is the longest number, in bytes, that is accepted when it is not
// written as an integer.
const maxExactDigits = 64

// mantissa returns a number without its exponent.
func mantissa(number string) string {
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		return number[:i]
	}
	return number
}
