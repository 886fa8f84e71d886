// Package framing has the words that the corpus of HTTP/1.1 requests in
// test/contract/testdata/framing uses for what cannot be written down there.
package framing

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Pause is where a client waits before it sends the rest.
const Pause = "\x00pause\x00"

// No number is larger than the corpus needs: a fuzzer would ask for gigabytes.
var words = regexp.MustCompile(`\$(GOOD|LEN|HEX|BODY|PAUSE|FIN|A(?:\d{1,5}|100001);|F\d{1,4};)`)

// Expand puts signed requests and long pieces in the place of their words: $GOOD is
// a whole request; $LEN and $HEX are the length of the next $BODY; $A9; is 9 bytes,
// $F9; is 9 header fields; $FIN, at the end, is nothing that is sent. Each ticket is
// a new body.
func Expand(text string, ticket func() string) string {
	body := ""
	next := func() string {
		if body == "" {
			body = ticket()
		}
		return body
	}
	return words.ReplaceAllStringFunc(text, func(word string) string {
		count, _ := strconv.Atoi(strings.Trim(word, "$AF;"))
		switch word[1] {
		case 'G':
			b := ticket()
			return fmt.Sprintf("POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
		case 'L':
			return strconv.Itoa(len(next()))
		case 'H':
			return strconv.FormatInt(int64(len(next())), 16)
		case 'B':
			b := next()
			body = ""
			return b
		case 'P':
			return Pause
		case 'A':
			return strings.Repeat("a", count)
		}
		if word == "$FIN" {
			return ""
		}
		return strings.Repeat("X: y\r\n", count)
	})
}
