package envelope

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
)

// A Work is how much a request asks for: limit × copies × prompts, in the unit of
// the limit, usually tokens. The zero value asks for nothing.
type Work struct {
	Stated  bool // the request contains a limit, where its engine reads it
	endless bool // no limit bounds it
	limit   uint64
	copies  uint64 // at least 1, except in the zero value
	prompts uint64 // at least 1, except in the zero value
}

// Runs returns how many completions are asked for, whatever their length: copies ×
// prompts, at most math.MaxUint64; 0 if that is not known.
func (w Work) Runs() uint64 {
	high, low := bits.Mul64(w.copies, w.prompts)
	if high > 0 {
		return math.MaxUint64
	}
	return low
}

// Work returns how much the request asks for, as the given engine reads it; with
// dialect.AnyEngine, the most that any engine would read. null counts as absent, 0
// copies as 1, and a number by its value (1e3 is 1000). A limit below 0 or above
// math.MaxInt64 does not limit anything, nor does 0 where the API says so: such
// work exceeds every cost. Errors: ErrDuplicateMember; or a *TicketError, together
// with as much of the Work as could be read, that names every number that is not
// an integer from 0 to math.MaxInt64, every 0 that does not limit, and every limit
// whose name differs in case, which not all engines read.
func (e *Envelope) Work(api *dialect.API, engine dialect.Engine) (Work, error) {
	if len(api.Limits) == 0 {
		return Work{}, nil
	}
	if e.appearsTwice(api) {
		return Work{}, ErrDuplicateMember
	}
	engine = api.Known(engine)
	w := Work{copies: 1}
	faults := e.notObjects(api)
	flavour := e.flavour(api, engine)
	for _, r := range api.Limits {
		if r.By(engine) {
			faults = e.limit(&w, r, flavour, api.Endless(engine), faults)
		}
		if r.ByFolded(engine) && (e.limits.cased[r.Member] || r.In() != dialect.Body && e.limits.cased[r.In()]) {
			faults = append(faults, r.String()+" must be written in lower case")
		}
	}
	for _, m := range api.Copies {
		switch e.limits.state[m] {
		case whole:
			w.copies = max(w.copies, e.limits.value[m])
		case beyond:
			w.endless = true
			fallthrough
		case negative, faulty:
			faults = append(faults, m.String()+" is not a whole number of at least 0")
		}
	}
	for _, m := range api.Prompts {
		w.prompts += e.limits.value[m]
	}
	w.prompts = max(w.prompts, 1)
	if len(faults) > 0 {
		return w, &TicketError{faults}
	}
	return w, nil
}

// limit adds one member that may be the limit to w.
func (e *Envelope) limit(w *Work, r dialect.Reading, flavour dialect.Engine, zeroEndless bool, faults []string) []string {
	state, n := e.limits.state[r.Member], e.limits.value[r.Member]
	if state == absent || state == null {
		return faults
	}
	w.Stated = w.Stated || r.By(flavour)
	switch {
	case state == whole && n == 0 && zeroEndless:
		w.endless = true
		return append(faults, r.String()+" is 0, which is no limit here")
	case state == whole:
		w.limit = max(w.limit, n)
		return faults
	case state == negative || state == beyond:
		w.endless = true
	}
	return append(faults, r.String()+" is not a whole number of at least 0")
}

// appearsTwice reports whether a member that the API reads, or the object that
// contains it, appears twice: the model server might read the other one.
func (e *Envelope) appearsTwice(api *dialect.API) bool {
	is := func(m dialect.Member) bool { return e.limits.state[m] == twice || e.limits.state[m.In()] == twice }
	for _, r := range api.Limits {
		if is(r.Member) {
			return true
		}
	}
	for _, list := range [2][]dialect.Member{api.Copies, api.Prompts} {
		for _, m := range list {
			if is(m) {
				return true
			}
		}
	}
	return false
}

// notObjects names each member that should be an object with a limit in it, but is
// not an object.
func (e *Envelope) notObjects(api *dialect.API) (faults []string) {
	for _, r := range api.Limits {
		if in := r.In(); e.limits.state[in] == faulty {
			faults = append(faults, in.Name()+" is not an object")
		}
	}
	return faults
}

// flavour returns the engine that the body is written for, as far as can be told.
func (e *Envelope) flavour(api *dialect.API, engine dialect.Engine) dialect.Engine {
	if engine != dialect.AnyEngine || len(api.Signs) == 0 {
		return engine
	}
	for _, r := range api.Signs {
		if e.limits.state[r.Member] > null {
			return r.Engine()
		}
	}
	return api.Usual
}

// Exceeds reports whether the work is more than the cost, without rounding.
func (w Work) Exceeds(cost crypto.Cost) bool {
	if w.endless {
		return true
	}
	high, times := bits.Mul64(w.copies, w.prompts)
	over, low := bits.Mul64(w.limit, times)
	if c := cost.Float64(); high == 0 && c < 1<<63 {
		return over > 0 || low > uint64(c) // an integer exceeds c if it exceeds c's integer part
	}
	product := new(big.Int).SetUint64(w.limit)
	product.Mul(product, new(big.Int).SetUint64(w.copies))
	product.Mul(product, new(big.Int).SetUint64(w.prompts))
	return product.Cmp(wholePart(cost)) > 0
}

// most returns the largest limit that the cost covers, at most math.MaxInt64.
func (w Work) most(cost crypto.Cost) int64 {
	if c := cost.Float64(); c < 1<<63 {
		return int64(uint64(c) / w.copies / w.prompts)
	}
	n := wholePart(cost)
	n.Quo(n, new(big.Int).SetUint64(w.copies))
	n.Quo(n, new(big.Int).SetUint64(w.prompts))
	if !n.IsInt64() {
		return math.MaxInt64
	}
	return n.Int64()
}

// wholePart returns the cost without its fraction.
func wholePart(cost crypto.Cost) *big.Int {
	n, _ := new(big.Float).SetFloat64(cost.Float64()).Int(nil)
	return n
}
