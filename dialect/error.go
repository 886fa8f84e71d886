package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A Shape is the form in which an API's clients expect an error.
type Shape uint8

// The shapes.
const (
	Plain     Shape = iota // {"error":"…","error_type":"…","request_id":"…"}
	OpenAI                 // {"error":{"message":"…","type":"…","code":"…","param":null},"request_id":"…"}
	Anthropic              // OpenAI's, with "type":"error" before it
)

// Error returns an error as JSON: a sentence for the user, a code, and the id of the
// request.
func (s Shape) Error(message, code, requestID string) []byte {
	message, code, requestID = quote(message), quote(code), quote(requestID)
	if s == Plain {
		return []byte(`{"error":` + message + `,"error_type":` + code + `,"request_id":` + requestID + `}`)
	}
	head := `{"error":`
	if s == Anthropic {
		head = `{"type":"error","error":`
	}
	return []byte(head + `{"message":` + message + `,"type":` + code + `,"code":` + code + `,"param":null},"request_id":` + requestID + `}`)
}

// quote returns s as a JSON string. Invalid UTF-8 is replaced.
func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "�"))
	if err != nil {
		return `""`
	}
	return string(b)
}
