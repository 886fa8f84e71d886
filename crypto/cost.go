package crypto

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// ErrCost is returned for what is not a cost: it is no JSON number, is negative, or is
// not finite as a 64-bit float.
var ErrCost = errors.New("crypto: not a number that is finite and not negative")

// maxIntegerDigits is the number of digits of the longest integer that Python reads and
// prints (sys.int_info.default_max_str_digits).
const maxIntegerDigits = 4300

// A Cost is a JSON number as it was sent, with its value. The zero value is not
// a cost.
type Cost struct {
	literal string
	value   float64
}

// ParseCost reads a JSON number literal. Error: ErrCost.
func ParseCost(literal []byte) (Cost, error) {
	c := Cost{literal: string(literal)}
	if !isNumber(c.literal) || isInteger(c.literal) && len(c.literal) > maxIntegerDigits {
		return Cost{}, ErrCost
	}
	value, err := strconv.ParseFloat(c.literal, 64)
	if err != nil || value < 0 || math.IsInf(value, 0) {
		return Cost{}, ErrCost
	}
	c.value = value
	return c, nil
}

// Float64 returns the value, rounded to the nearest 64-bit float.
func (c Cost) Float64() float64 { return c.value }

// String returns the literal as it was sent.
func (c Cost) String() string { return c.literal }

// isNumber reports whether s is a number by JSON's grammar (RFC 8259 section 6).
func isNumber(s string) bool {
	digits := func() bool {
		n := len(s)
		s = strings.TrimLeft(s, "0123456789")
		return len(s) < n
	}
	s = strings.TrimPrefix(s, "-")
	if rest, ok := strings.CutPrefix(s, "0"); ok {
		s = rest
	} else if !digits() {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// isInteger reports whether Python reads a number as an int.
func isInteger(number string) bool { return !strings.ContainsAny(number, ".eE") }

// maxSpellings is the largest number of spellings of one number.
const maxSpellings = 3

// spellings returns the ways in which Python may have printed the number that the
// client sent, the likeliest first. A JavaScript client re-serialises 256.0 as 256,
// and prints 1e+23 and 123456789012345680000 for floats whose exact values are
// other integers. So numbers are compared by value: an integer equals a float if it
// is the float's exact value, or the decimal that the float's shortest digits
// spell. A literal in the second form may also be an exact value.
func (c Cost) spellings(buf *[maxSpellings]string) []string {
	list := buf[:0]
	if c.value == 0 {
		return append(list, "0.0", "0", "-0.0")
	}
	float := string(appendRepr(nil, c.value))
	if isInteger(c.literal) {
		list = append(list, c.literal)
		if c.value < 1<<53 {
			return append(list, float)
		}
		exact := exactInteger(c.value)
		switch c.literal {
		case exact:
			list = append(list, float)
		case shortestInteger(c.value):
			list = append(list, float, exact) // a JavaScript client was given either
		}
		return list
	}
	list = append(list, float)
	if c.value == math.Trunc(c.value) {
		exact := exactInteger(c.value)
		list = append(list, exact)
		if shortest := shortestInteger(c.value); shortest != exact {
			list = append(list, shortest)
		}
	}
	return list
}

// exactInteger prints an integral float exactly.
func exactInteger(f float64) string {
	if f < 1<<63 {
		return strconv.FormatInt(int64(f), 10)
	}
	i, _ := new(big.Float).SetFloat64(f).Int(nil)
	return i.String()
}

// shortestInteger prints the integer that the shortest digits of f spell.
func shortestInteger(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// appendRepr writes f as Python's repr does (float_repr_style "short"): the
// shortest digits that read back as f, an exponent of at least two digits where
// the decimal exponent is below -4 or at least 16, and ".0" where it would look
// like an integer.
func appendRepr(dst []byte, f float64) []byte {
	if f != 0 && (math.Abs(f) < 1e-4 || math.Abs(f) >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64) // Go's exponent has two digits, too
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}
