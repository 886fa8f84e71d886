package chaos

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A kind is what a client tries.
type kind string

const (
	honest    kind = "honest"
	pipelined kind = "pipelined" // two honest requests in one write
	twins     kind = "twins"     // one ticket sent several times at once
	replayed  kind = "replayed"  // a ticket that the model server has seen before
	forged    kind = "forged"
	sessional kind = "session"
	malformed kind = "malformed" // unacceptable HTTP with a request hidden in it
)

// A manner is how a client sends.
type manner string

const (
	whole   manner = "whole"
	chunked manner = "chunked"
	dripped manner = "dripped" // in small pieces
	http10  manner = "HTTP/1.0"
)

// A place is where a request has its ticket.
type place string

const (
	flat   place = "flat"
	nested place = "nested"
	inHead place = "in the head" // the body is for the model server alone
)

// A point is when a client leaves.
type point string

const (
	never     point = "never"
	midHead   point = "mid-head"
	midBody   point = "mid-body"
	sent      point = "sent"
	waiting   point = "waiting"
	midAnswer point = "mid-answer"
)

// A plan is everything that is to happen to one request, on both sides of Usher. It
// depends only on the campaign's seed and the request's index, so the clients and the
// model server agree on it without communicating, and a seed replays it.
type plan struct {
	index  int
	kind   kind
	manner manner
	leave  point
	exit   string // how the client leaves: close, reset, half-close
	fault  string // what the model server does, a name in faults
	route  string
	place  place
	expect bool          // asks for 100-continue and does not wait for it
	fresh  bool          // on a connection of its own
	again  bool          // tries a ticket again if it is not known whether it was spent
	secret bool          // sends the customer's own API key too
	size   int           // bytes of the prompt
	lines  int           // lines of the answer
	pause  time.Duration // of anyone who is slow
	choice uint64        // random bits for the kind's own choices
	own    bool          // Usher answers, not the model server
}

// A weighted is one side of a loaded die, or a card that a deck has several times.
type weighted[T any] struct {
	weight int
	value  T
}

func roll[T any](r *rand.Rand, sides []weighted[T]) T {
	total := 0
	for _, s := range sides {
		total += s.weight
	}
	n := r.IntN(total)
	for _, s := range sides {
		if n -= s.weight; n < 0 {
			return s.value
		}
	}
	panic("unreachable")
}

// deal returns the card of that number. Cards come in rounds, each round in an order of
// its own and with every card as many times as its weight: unlike a die, it leaves out no
// rare one for long.
func deal[T any](seed uint64, number int, cards []weighted[T]) T {
	round := deck(cards)
	r := rand.New(rand.NewPCG(seed, dealer|uint64(number/len(round))))
	r.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
	return round[number%len(round)]
}

// deck returns every card as many times as its weight.
func deck[T any](cards []weighted[T]) (all []T) {
	for _, c := range cards {
		for range c.weight {
			all = append(all, c.value)
		}
	}
	return all
}

func TestDeal(t *testing.T) {
	orders := map[string]bool{}
	for _, ph := range phases {
		number := 0
		for range 20 {
			came, order := map[string]int{}, ""
			for range len(deck(ph.events)) {
				card := deal(42, number, ph.events)
				came[card]++
				order += card + ", "
				number++
			}
			for _, e := range ph.events {
				require.Equal(t, e.weight, came[e.value], "%s in a round of the phase %s", e.value, ph.name)
			}
			orders[order] = true
		}
	}
	require.Greater(t, len(orders), 50, "the rounds are alike")
}

var (
	kinds = []weighted[kind]{
		{800, honest}, {30, pipelined}, {50, twins}, {40, replayed}, {60, forged}, {20, malformed}, {40, sessional},
	}
	manners = []weighted[manner]{{80, whole}, {10, chunked}, {5, dripped}, {5, http10}}
	places  = []weighted[place]{{35, flat}, {35, nested}, {30, inHead}}
	leaves  = []weighted[point]{
		{860, never}, {15, midHead}, {15, midBody}, {30, sent}, {40, waiting}, {40, midAnswer},
	}
	exits = []weighted[string]{{40, "close"}, {40, "reset"}, {20, "half-close"}}
	sizes = []weighted[int]{{600, 40}, {350, 2000}, {45, 40_000}, {5, 300_000}}
)

// Streams of the random generator that are not for requests.
const (
	eventStream = 1 << 62
	acceptor    = 1 << 61
	dealer      = 1 << 60
)

// planOf returns the plan of one request.
func planOf(seed uint64, index int) plan {
	r := rand.New(rand.NewPCG(seed, uint64(index)))
	p := plan{
		index: index, kind: roll(r, kinds), manner: roll(r, manners), leave: roll(r, leaves),
		exit: roll(r, exits), fault: roll(r, faultDie), place: roll(r, places), expect: r.IntN(16) == 0, fresh: r.IntN(8) == 0,
		again: r.IntN(2) == 0, secret: r.IntN(4) == 0, lines: 1 + r.IntN(12), choice: r.Uint64(),
		pause: time.Duration(r.IntN(3000)) * time.Microsecond,
	}
	p.size = 1 + r.IntN(roll(r, sizes))
	p.route = []string{"/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"}[r.IntN(4)]
	if p.kind != honest {
		p.leave = never
	}
	if p.kind == sessional {
		p.manner, p.fault, p.place, p.size = whole, "length", nested, min(p.size, 40_000)
	}
	if p.kind == pipelined {
		p.manner, p.fault = whole, "length" // a fault that closes the connection would lose the second answer
	}
	if p.manner == http10 {
		p.fresh, p.expect = true, false
	}
	return p
}

// payload returns the body that the model server must get, byte for byte.
func (p plan) payload() string {
	return `{"inputs": "` + strings.Repeat("chaos ", p.size/6+1) + `","parameters": {"max_new_tokens":1e1}}`
}
