package dialect

import "bytes"

// A Stream says how an answer is divided into events.
type Stream uint8

// The streams.
const (
	NoStream Stream = iota
	Events          // text/event-stream (HTML Living Standard, section 9.2)
	Lines           // newline-delimited JSON
)

// StreamOf returns the kind of stream of a Content-Type (RFC 9110 section 8.3.1).
func StreamOf(contentType []byte) Stream {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.Trim(media, " \t")
	switch {
	case bytes.EqualFold(media, []byte("text/event-stream")):
		return Events
	case bytes.EqualFold(media, []byte("application/x-ndjson")):
		return Lines
	}
	return NoStream
}

// LastEvent returns the event that tells the reader of a broken stream why it broke. For
// Events it has the shape of the API, and for Anthropic's the event name that its
// clients listen for. For Lines it is a line in the plain shape. It must be written
// where an event can begin.
func (s Shape) LastEvent(stream Stream, message, code, requestID string) []byte {
	if stream == Lines {
		return append(Plain.Error(message, code, requestID), '\n')
	}
	head := "data: "
	if s == Anthropic {
		head = "event: error\ndata: "
	}
	return append(append([]byte(head), s.Error(message, code, requestID)...), "\n\n"...)
}
