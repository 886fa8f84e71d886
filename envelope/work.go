package envelope

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usher-sidecar/usher/crypto"
)

// An API says in which members of its body a route states the work it asks for.
type API uint8

// The APIs.
const (
	APINone        API = iota // states none that is known
	APIGenerate               // TGI: parameters.max_new_tokens × parameters.best_of
	APICompletions            // OpenAI's /v1/completions
	APIChat                   // OpenAI's /v1/chat/completions
	APIOpenAI                 // any other route below /v1/
)

// APIOf knows the API by the route's path.
func APIOf(route string) API {
	switch {
	case route == "/generate" || route == "/generate_stream":
		return APIGenerate
	case route == "/v1/completions":
		return APICompletions
	case route == "/v1/chat/completions":
		return APIChat
	case strings.HasPrefix(route, "/v1/"):
		return APIOpenAI
	}
	return APINone
}

// The members that the cost policy reads.
const (
	limitMaxNewTokens        = iota // of parameters
	limitParametersBestOf           // of parameters
	limitMaxTokens                  // of the model's body
	limitMaxCompletionTokens        // of the model's body
	limitN                          // of the model's body
	limitBestOf                     // of the model's body
	limitCount
)

var limitNames = [limitCount]string{"max_new_tokens", "best_of", "max_tokens", "max_completion_tokens", "n", "best_of"}

// A limit is one such member: absent, null, or a literal.
type limit struct {
	literal string // a number; "" where it is none
	kind    jsontext.Kind
	twice   bool
}

// stated tells whether the member says anything: null does not.
func (l limit) stated() bool { return l.kind != 0 && l.kind != 'n' }

// limits are those members of one body.
type limits struct {
	member     [limitCount]limit
	parameters limit // the object itself
}

// modelMember reads a member of the model's body and notes it if the cost policy
// reads it.
func (s *scanner) modelMember(l *limits, name []byte) (value, error) {
	if string(name) == "parameters" {
		v, err := s.within(nil, func(name []byte, _ int) error {
			return s.limit(l, name, limitMaxNewTokens, limitMaxTokens)
		})
		l.parameters.twice = l.parameters.kind != 0
		l.parameters.kind = v.kind
		return v, err
	}
	for i := limitMaxTokens; i < limitCount; i++ {
		if string(name) == limitNames[i] {
			return s.note(&l.member[i])
		}
	}
	return s.value()
}

// limit reads a member of parameters.
func (s *scanner) limit(l *limits, name []byte, from, to int) error {
	for i := from; i < to; i++ {
		if string(name) == limitNames[i] {
			_, err := s.note(&l.member[i])
			return err
		}
	}
	_, err := s.value()
	return err
}

// note reads a limit's value.
func (s *scanner) note(l *limit) (value, error) {
	v, err := s.value()
	l.twice = l.twice || l.kind != 0
	l.kind, l.literal = v.kind, ""
	if v.kind == '0' {
		l.literal = string(s.body[v.from:v.to])
	}
	return v, err
}

// A Work is what a request asks for. The zero value asks for nothing.
type Work struct {
	Stated     bool // the limit stands in the request
	limit      uint64
	multiplier uint64 // at least 1, but in the zero value
}

// Work reads what the request asks for; null counts as not stated, a multiplier
// of 0 as 1, and numbers by their value (1e3 is 1000). Errors:
// ErrDuplicateMember, or a *TicketError that names all that is no whole number
// from 0 to math.MaxInt64.
func (e *Envelope) Work(api API) (Work, error) {
	limitsOf, multipliersOf := []int{limitMaxTokens, limitMaxCompletionTokens}, []int{limitN, limitBestOf}
	switch api {
	case APINone:
		return Work{}, nil
	case APIGenerate:
		limitsOf, multipliersOf = []int{limitMaxNewTokens}, []int{limitParametersBestOf}
		if e.limits.parameters.twice {
			return Work{}, ErrDuplicateMember
		}
		if p := e.limits.parameters; p.stated() && p.kind != '{' {
			return Work{}, &TicketError{[]string{"parameters is not an object"}}
		}
	}
	for _, members := range [2][]int{limitsOf, multipliersOf} {
		for _, i := range members {
			if e.limits.member[i].twice {
				return Work{}, ErrDuplicateMember
			}
		}
	}
	var faults []string
	limit, stated := e.largest(limitsOf, &faults)
	multiplier, _ := e.largest(multipliersOf, &faults)
	if len(faults) > 0 {
		return Work{}, &TicketError{faults}
	}
	return Work{stated, limit, max(multiplier, 1)}, nil
}

// largest reads members of which the larger counts.
func (e *Envelope) largest(members []int, faults *[]string) (largest uint64, stated bool) {
	for _, i := range members {
		l := e.limits.member[i]
		if !l.stated() {
			continue
		}
		n, ok := l.number()
		if !ok {
			*faults = append(*faults, limitNames[i]+" is not a whole number of at least 0")
		}
		largest, stated = max(largest, n), true
	}
	return largest, stated
}

// number is the value of a stated limit: whole, from 0 to math.MaxInt64.
func (l limit) number() (uint64, bool) {
	if n, err := strconv.ParseUint(l.literal, 10, 63); err == nil {
		return n, true
	}
	// A fraction or an exponent may still be whole. The float bounds what the
	// exact arithmetic is let loose on.
	f, err := strconv.ParseFloat(l.literal, 64)
	if err != nil || strings.HasPrefix(l.literal, "-") || f > math.MaxInt64 || len(l.literal) > 64 || f > 0 && f < 1 {
		return 0, false
	}
	if f == 0 {
		return 0, !strings.ContainsAny(mantissa(l.literal), "123456789") // and not one that is just too small
	}
	r, ok := new(big.Rat).SetString(l.literal)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Uint64(), true
}

// mantissa is a number without its exponent.
func mantissa(number string) string {
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		return number[:i]
	}
	return number
}

// Exceeds tells whether the work is more than the cost, exactly.
func (w Work) Exceeds(cost crypto.Cost) bool {
	high, low := bits.Mul64(w.limit, w.multiplier)
	if c := cost.Float64(); c < 1<<63 {
		return high > 0 || low > uint64(c) // a whole number exceeds c if it exceeds its whole part
	}
	product := new(big.Int).SetUint64(high)
	product.Lsh(product, 64).Or(product, new(big.Int).SetUint64(low))
	return product.Cmp(whole(cost)) > 0
}

// most is the largest limit that the cost covers, at most math.MaxInt64.
func (w Work) most(cost crypto.Cost) int64 {
	if c := cost.Float64(); c < 1<<63 {
		return int64(uint64(c) / max(w.multiplier, 1))
	}
	n := whole(cost)
	n.Quo(n, new(big.Int).SetUint64(max(w.multiplier, 1)))
	if !n.IsInt64() {
		return math.MaxInt64
	}
	return n.Int64()
}

// whole is the whole part of the cost.
func whole(cost crypto.Cost) *big.Int {
	n, _ := new(big.Float).SetFloat64(cost.Float64()).Int(nil)
	return n
}
