package envelope

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
)

// A limit is a member that states work: absent, null, or a literal.
type limit struct {
	literal string // a number; "" where it is none
	kind    jsontext.Kind
	twice   bool
}

// stated tells whether the member says anything: null does not.
func (l limit) stated() bool { return l.kind != 0 && l.kind != 'n' }

// limits are those members of one body.
type limits [dialect.MemberCount]limit

// modelMember reads a member of the model's body, or of an object in it, and
// notes it if it states work.
func (s *scanner) modelMember(l *limits, in dialect.Member, name []byte) (value, error) {
	member := dialect.Find(in, name)
	switch {
	case member == dialect.Body:
		return s.value()
	case member.IsObject():
		v, err := s.within(nil, func(name []byte, _ int) error {
			_, err := s.modelMember(l, member, name)
			return err
		})
		l[member].twice = l[member].kind != 0
		l[member].kind = v.kind
		return v, err
	}
	return s.note(&l[member])
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
func (e *Envelope) Work(api *dialect.API) (Work, error) {
	var faults []string
	for _, members := range [2][]dialect.Member{api.Limits, api.Copies} {
		for _, m := range members {
			if e.limits[m].twice || e.limits[m.In()].twice {
				return Work{}, ErrDuplicateMember
			}
		}
	}
	for _, m := range api.Limits {
		if object := e.limits[m.In()]; object.stated() && object.kind != '{' {
			return Work{}, &TicketError{[]string{m.In().Name() + " is not an object"}}
		}
	}
	limit, stated := e.largest(api.Limits, &faults)
	multiplier, _ := e.largest(api.Copies, &faults)
	if len(faults) > 0 {
		return Work{}, &TicketError{faults}
	}
	return Work{stated, limit, max(multiplier, 1)}, nil
}

// largest reads members of which the larger counts.
func (e *Envelope) largest(members []dialect.Member, faults *[]string) (largest uint64, stated bool) {
	for _, m := range members {
		l := e.limits[m]
		if !l.stated() {
			continue
		}
		n, ok := l.number()
		if !ok {
			*faults = append(*faults, m.Name()+" is not a whole number of at least 0")
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
