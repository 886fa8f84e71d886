package envelope

import (
	"math"
	"math/big"
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

// A Work is what a request asks for. The zero value asks for nothing that is
// stated.
type Work struct {
	Stated     bool // the limit stands in the request
	limit      *big.Int
	multiplier *big.Int
}

// Work reads what the request asks for; null counts as not stated, a multiplier
// of 0 as 1, and numbers by their value (1e3 is 1000). Errors:
// ErrDuplicateMember, or a *TicketError for what is no whole number of at least
// 0.
func (e *Envelope) Work(api API) (Work, error) {
	var limitsOf, multipliersOf []int
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
	default:
		limitsOf, multipliersOf = []int{limitMaxTokens, limitMaxCompletionTokens}, []int{limitN, limitBestOf}
	}
	w := Work{multiplier: big.NewInt(1)}
	largest := func(members []int, into **big.Int) error {
		for _, i := range members {
			n, err := e.limits.member[i].number(limitNames[i])
			if err != nil {
				return err
			}
			if n != nil && (*into == nil || n.Cmp(*into) > 0) {
				*into = n
			}
		}
		return nil
	}
	if err := largest(limitsOf, &w.limit); err != nil {
		return Work{}, err
	}
	if err := largest(multipliersOf, &w.multiplier); err != nil {
		return Work{}, err
	}
	w.Stated = w.limit != nil
	return w, nil
}

// maxLiteral bounds the exact arithmetic; a longer number is refused.
const maxLiteral = 400

// number is the value of a stated limit, nil where nothing is stated.
func (l limit) number(name string) (*big.Int, error) {
	switch {
	case l.twice:
		return nil, ErrDuplicateMember
	case !l.stated():
		return nil, nil
	case l.literal == "" || len(l.literal) > maxLiteral:
		return nil, &TicketError{[]string{name + " is not a whole number of at least 0"}}
	}
	if n, ok := new(big.Int).SetString(l.literal, 10); ok && n.Sign() >= 0 && l.literal != "-0" {
		return n, nil
	}
	// A fraction or an exponent: exact, but not for exponents that would fill
	// the memory.
	f, err := crypto.ParseCost([]byte(l.literal))
	if err == nil && f.Float64() <= math.MaxInt64 {
		if r, ok := new(big.Rat).SetString(l.literal); ok && r.IsInt() && r.Sign() >= 0 && l.literal[0] != '-' {
			return r.Num(), nil
		}
	}
	return nil, &TicketError{[]string{name + " is not a whole number of at least 0"}}
}

// Exceeds tells whether the work is more than the cost, exactly. Work that is
// not stated is counted as one unit, times its multiplier.
func (w Work) Exceeds(cost crypto.Cost) bool {
	if w.multiplier == nil {
		return false
	}
	if w.limit == nil {
		return false
	}
	total := new(big.Int).Mul(w.limit, w.multiplier)
	return new(big.Rat).SetInt(total).Cmp(exact(cost)) > 0
}

// exact is the cost as the float that its signature binds.
func exact(cost crypto.Cost) *big.Rat {
	r := new(big.Rat).SetFloat64(cost.Float64())
	if r == nil {
		return new(big.Rat)
	}
	return r
}
