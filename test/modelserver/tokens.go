package modelserver

import (
	"context"
	"hash/fnv"
	"strings"
	"time"
)

// vocabulary has all words of the model. A token's id is its index here.
var vocabulary = strings.Fields(`the a one each many some light water stone river mountain
	city road window letter machine garden winter morning engine signal
	carries follows finds keeps opens turns writes counts answers waits for
	over under between toward after before quietly slowly again bright small
	old new first last green hidden patient café naïve 東京 ✓`)

// A token is one step of an answer.
type token struct {
	id   int
	text string
}

// tokenAt returns the n-th token of the answer to prompt.
func tokenAt(prompt string, n int) token {
	h := fnv.New64a()
	_, _ = h.Write([]byte(prompt))
	_, _ = h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	// The low bits of FNV are its weakest.
	id := int((h.Sum64() >> 20) % uint64(len(vocabulary)))
	return token{id: id, text: " " + vocabulary[id]}
}

// Text returns the answer to prompt, n tokens long. The second and further choices of
// a request are the answers to the prompt followed by "#1", "#2", …
func Text(prompt string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(tokenAt(prompt, i).text)
	}
	return b.String()
}

// countTokens returns the number of tokens that usage states for a prompt: its words.
func countTokens(prompt string) int { return len(strings.Fields(prompt)) }

// pace waits until the n-th token is ready. It returns false if ctx ends first.
func (s *Server) pace(ctx context.Context, n int) bool {
	d := s.options.PerToken
	if n == 0 {
		d = s.options.TimeToFirstToken
	}
	if d <= 0 {
		return ctx.Err() == nil
	}
	if s.options.Jitter > 0 {
		s.mu.Lock()
		share := s.options.Jitter * (2*s.random.Float64() - 1)
		s.mu.Unlock()
		d += time.Duration(share * float64(d))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// limitOf returns how many tokens to make if a request states n, and whether it states
// any. ok is false if n is out of range.
func (s *Server) limitOf(n *int) (tokens int, limited, ok bool) {
	if n == nil {
		return s.options.DefaultMaxTokens, false, true
	}
	return *n, true, *n >= 1 && *n <= maxTokens
}

// made waits for all tokens of an answer. It returns false if ctx ends first.
func (s *Server) made(ctx context.Context, tokens int) bool {
	for i := range tokens {
		if !s.pace(ctx, i) {
			return false
		}
	}
	return true
}
