package envelope

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/usher-sidecar/usher/dialect"
)

// limits is what the members that state work say in one body.
type limits struct {
	value [dialect.MemberCount]uint64 // of a number, or how many prompts
	state [dialect.MemberCount]state
	cased [dialect.MemberCount]bool // it stands under a name that differs in case
}

// A state is what is known of one of them.
type state uint8

const (
	absent state = iota
	null
	whole    // a number from 0 to math.MaxInt64, an object, or prompts
	negative // a number below 0
	beyond   // a number above math.MaxInt64
	faulty   // anything else
	twice    // it stands twice
)

// set notes what a member is.
func (l *limits) set(m dialect.Member, s state, value uint64) {
	if l.state[m] != absent {
		s = twice
	}
	l.state[m], l.value[m] = s, value
}

// modelMember reads a member of the model's body, or of an object in it, and
// notes it if it states work.
func (s *scanner) modelMember(l *limits, in dialect.Member, name []byte) (v value, err error) {
	m := dialect.Find(in, name)
	if m == dialect.Body {
		if in == dialect.Body {
			l.cased[dialect.FindFolded(name)] = true // Body's says nothing
		}
		return s.value()
	}
	state, n := faulty, uint64(0)
	switch m.Kind() {
	case dialect.Object:
		v, err = s.within(nil, func(name []byte, _ int) error {
			_, err := s.modelMember(l, m, name)
			return err
		})
		if v.kind == '{' {
			state = whole
		}
	case dialect.Prompts:
		v, n, err = s.prompts()
		state = whole
	default:
		if v, err = s.value(); v.kind == '0' {
			state, n = number(s.body[v.from:v.to])
		}
	}
	if v.kind == 'n' {
		state, n = null, 0
	}
	l.set(m, state, n)
	return v, err
}

// prompts reads a member that holds a prompt, and counts: an array of numbers is
// one prompt in tokens; of any other, each element that is no number is one.
func (s *scanner) prompts() (v value, n uint64, err error) {
	if s.json.peek() != '[' {
		if v, err = s.value(); v.to-v.from > len(`""`) {
			n = 1
		}
		return v, n, err
	}
	from := s.json.at
	numbers, others, ok := s.json.elements()
	if !ok {
		return value{}, 0, s.syntax()
	}
	n = uint64(others)
	if n == 0 && numbers > 0 {
		n = 1
	}
	return value{from, s.json.at, '['}, n, nil
}

// number reads a number that states work by its value.
func number(literal []byte) (state, uint64) {
	if n, err := strconv.ParseUint(string(literal), 10, 63); err == nil {
		return whole, n
	}
	text := string(literal)
	// A fraction or an exponent may still be whole. The float bounds what the
	// exact arithmetic is let loose on.
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case f < 0:
		return negative, 0
	case f > math.MaxInt64: // infinite, too
		return beyond, 0
	case err != nil || text[0] == '-' || f > 0 && f < 1 || len(text) > maxExactDigits:
		return faulty, 0
	case f == 0:
		if strings.ContainsAny(mantissa(text), "123456789") {
			return faulty, 0 // not 0, but just too small
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

// maxExactDigits is how long a number may be that is not written as an integer.
const maxExactDigits = 64

// mantissa is a number without its exponent.
func mantissa(number string) string {
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		return number[:i]
	}
	return number
}
