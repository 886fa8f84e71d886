package main

import (
	"bytes"
	"strings"

	"github.com/usher-sidecar/usher/envelope"
)

// headTicket recognises a ticket in any form that it may have in a request's head: a
// whole line ("Authorization: SignedRoute …"), its value, an API key ("sr.…") or the
// bare token. ok is false for anything else, which is then a body.
func headTicket(input []byte) (token []byte, ok bool) {
	line := bytes.TrimSpace(input)
	if name, value, cut := bytes.Cut(line, []byte(":")); cut && strings.EqualFold(string(name), "authorization") {
		line = bytes.TrimSpace(value)
	}
	if token, ok := envelope.HeaderTicket(line); ok {
		return token, true
	}
	if key, ok := bytes.CutPrefix(line, []byte("sr.")); ok {
		return key, true
	}
	for _, c := range line {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=", rune(c)) {
			return nil, false
		}
	}
	// A bare JSON word consists of such letters as well. But base64url of an object
	// begins with 'e', from its brace.
	return line, len(line) > 0 && line[0] == 'e'
}
