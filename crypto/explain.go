package crypto

import (
	"fmt"
	"strings"
	"time"
)

// maxEd25519Tries bounds the work of Explain where each try is a public-key
// operation.
const maxEd25519Tries = 20_000

// layouts are those that common calls of json.dumps produce.
var layouts = []layout{
	indented,
	{"{", ", ", ": ", "}", "default separators"},
	{"{", ",", ":", "}", "compact separators"},
	{"{\n  ", ",\n  ", ": ", "\n}", "indent=2"},
}

// An Explanation says what a key has actually signed.
type Explanation struct {
	Fields []Field
	Cost   string // as it was spelled; "" if it was not signed
	URL    string // as it was spelled, if not as in the ticket
	Layout string // how json.dumps was called
}

// String returns it as a sentence.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, printed with %s", FieldList(e.Fields), e.Layout)
	if e.Cost != "" {
		fmt.Fprintf(&b, ", cost as %s", e.Cost)
	}
	if e.URL != "" {
		fmt.Fprintf(&b, ", url as %q", e.URL)
	}
	return b.String()
}

// Explain finds out what the accepted keys have actually signed. It tries every ordered
// choice of the ticket's fields, every spelling of its cost, and its url with and
// without a trailing slash, in every common layout. It is slow, and meant for finding
// the cause of a bad signature.
func (s *KeySet) Explain(m *Message, signature []byte, now time.Time) []Explanation {
	var found []Explanation
	all := s.current.Load()
	for i := range all.accepted(now) {
		k := all.held[i].key
		check, ok := k.prepare(signature)
		if !ok {
			continue
		}
		tries := 0
		forEachOrder(m, func(fields []Field) bool {
			for _, e := range explanations(m, fields) {
				if tries++; k.rsa == nil && tries > maxEd25519Tries {
					return false
				}
				if check.fits(e.message) {
					found = append(found, e.Explanation)
				}
			}
			return true
		})
	}
	return found
}

type candidate struct {
	Explanation
	message []byte
}

// explanations returns all ways to print the fields in this order.
func explanations(m *Message, fields []Field) []candidate {
	var signed [fieldCount]bool
	for _, f := range fields {
		signed[f] = true
	}
	var buf [maxSpellings]string
	costs, urls := []string{""}, []string{m.URL}
	if signed[FieldCost] {
		costs = m.Cost.spellings(&buf)
	}
	if signed[FieldURL] {
		urls = append(urls, strings.TrimSuffix(m.URL, "/"))
		if urls[1] == m.URL {
			urls[1] += "/"
		}
	}
	var list []candidate
	for i := range layouts {
		for _, cost := range costs {
			for j, url := range urls {
				other := *m
				other.URL = url
				e := Explanation{Fields: append([]Field(nil), fields...), Cost: cost, Layout: layouts[i].name}
				if j > 0 {
					e.URL = url
				}
				list = append(list, candidate{e, appendMessage(nil, &layouts[i], fields, &other, cost)})
			}
		}
	}
	return list
}

// forEachOrder calls try with every ordered choice of one or more of the ticket's
// fields, until try returns false.
func forEachOrder(m *Message, try func([]Field) bool) {
	var chosen []Field
	var used [fieldCount]bool
	var extend func() bool
	extend = func() bool {
		for f := range fieldCount {
			if used[f] || !m.has(f) {
				continue
			}
			used[f] = true
			chosen = append(chosen, f)
			if !try(chosen) || !extend() {
				return false
			}
			chosen = chosen[:len(chosen)-1]
			used[f] = false
		}
		return true
	}
	extend()
}
