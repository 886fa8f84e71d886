package sidecar

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// maxHeaderFields is how many header fields a request may have.
const maxHeaderFields = 100

// checkFraming refuses what fasthttp's parser lets through although RFC 9112
// does not, or although two parsers could read it in two ways: a request head
// that means one thing here and another at the model server is how requests
// are smuggled. It reads the head as it came off the wire.
//
// Let through by fasthttp and refused here: an unknown HTTP version,
// Content-Length beside Transfer-Encoding, "Transfer-Encoding: identity",
// folded lines, control bytes in values, bytes outside ASCII in the target,
// absolute targets of any scheme, several Host or Expect fields and any number
// of fields. What fasthttp does not keep for this (the ends of lines, and the
// framing of chunks) is looked at on the wire, by wireGuard.
func checkFraming(h *fasthttp.RequestHeader) *httpFault {
	if p := string(h.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
		return &httpFault{fasthttp.StatusHTTPVersionNotSupported, "Use HTTP/1.1"}
	}
	if !plainTarget(h.RequestURI()) {
		return &httpFault{fasthttp.StatusBadRequest, "The request target holds a byte that must be percent-encoded"}
	}
	if !plainForm(h.RequestURI()) {
		return &httpFault{fasthttp.StatusBadRequest, "The request target is neither a path nor an http URL"}
	}
	var f fields
	if fault := f.scan(h.RawHeaders()); fault != nil {
		return fault
	}
	return f.judge(string(h.Protocol()) == "HTTP/1.1")
}

// plainTarget tells whether every byte is visible ASCII and none is '#', which
// starts a fragment and never belongs to a request.
func plainTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// plainForm tells whether a target, where it is not a path, is in the absolute
// form that a request to a web server may have (RFC 9112 section 3.2.2), without
// the user and password that RFC 9110 section 4.2.4 has no place for. What
// fasthttp lets through of CONNECT and OPTIONS, authority and asterisk, is no route.
func plainForm(target []byte) bool {
	scheme, rest, absolute := bytes.Cut(target, []byte("://"))
	if target[0] == '/' || !absolute {
		return true
	}
	authority, _, _ := bytes.Cut(rest, []byte("/"))
	return (http1.EqualFold(scheme, "http") || http1.EqualFold(scheme, "https")) &&
		len(authority) > 0 && bytes.IndexByte(authority, '@') < 0
}

// fields counts what decides the framing of a request.
type fields struct {
	total, host, contentLength, transferEncoding, expect int

	length, coding, expectation []byte
}

// scan walks a raw header block, which ends in an empty line.
func (f *fields) scan(raw []byte) *httpFault {
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return &httpFault{fasthttp.StatusBadRequest, "A header line does not end in CRLF"}
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			if len(raw) > 0 {
				return &httpFault{fasthttp.StatusBadRequest, "The header block has an empty line inside"}
			}
			return nil
		}
		if fault := f.field(line); fault != nil {
			return fault
		}
	}
	return nil
}

func (f *fields) field(line []byte) *httpFault {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !http1.IsToken(line[:colon]) {
		return &httpFault{fasthttp.StatusBadRequest, "A header line is folded or its name is malformed"}
	}
	value := http1.TrimBlanks(line[colon+1:])
	for _, c := range value {
		if !http1.IsText(c) {
			return &httpFault{fasthttp.StatusBadRequest, "A header value holds a control byte"}
		}
	}
	if f.total++; f.total > maxHeaderFields {
		return &httpFault{fasthttp.StatusRequestHeaderFieldsTooLarge, "The request has too many header fields"}
	}
	name := line[:colon]
	switch {
	case bytes.IndexByte(name, '_') >= 0 && shadowsFraming(name):
		return &httpFault{fasthttp.StatusBadRequest, "A header name shadows one that frames the body"}
	case http1.EqualFold(name, "host"):
		f.host++
	case http1.EqualFold(name, "expect"):
		f.expect++
		f.expectation = value
	}
	f.frame(line)
	return nil
}

// frame takes what a header line says of the body's end.
func (f *fields) frame(line []byte) {
	if first := http1.Lower(line[0]); first != 'c' && first != 't' {
		return // as most
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	switch {
	case !ok:
	case http1.EqualFold(name, "content-length"):
		f.contentLength++
		f.length = http1.TrimBlanks(value)
	case http1.EqualFold(name, "transfer-encoding"):
		f.transferEncoding++
		f.coding = http1.TrimBlanks(value)
	}
}

func (f *fields) judge(http11 bool) *httpFault {
	switch {
	case f.host > 1 || http11 && f.host == 0:
		return &httpFault{fasthttp.StatusBadRequest, "Send exactly one Host header"}
	case f.contentLength > 1 || f.contentLength > 0 && f.transferEncoding > 0:
		return &httpFault{fasthttp.StatusBadRequest, "Send exactly one of Content-Length and Transfer-Encoding"}
	case f.contentLength == 1 && !isLength(f.length):
		return &httpFault{fasthttp.StatusBadRequest, "Content-Length is not a number"}
	case f.transferEncoding > 1 || f.transferEncoding > 0 && (!http11 || !http1.EqualFold(f.coding, "chunked")):
		return &httpFault{fasthttp.StatusBadRequest, "The only transfer coding understood is chunked"}
	case f.expect > 1 || f.expect > 0 && !http1.EqualFold(f.expectation, "100-continue"):
		return &httpFault{fasthttp.StatusExpectationFailed, "The only expectation understood is 100-continue"}
	}
	return nil
}

// shadowsFraming finds Content_Length and Transfer_Encoding: some servers read
// an underscore as a hyphen (the CGI convention) and would frame by them.
func shadowsFraming(name []byte) bool {
	hyphened := bytes.ReplaceAll(name, []byte("_"), []byte("-"))
	return http1.EqualFold(hyphened, "content-length") || http1.EqualFold(hyphened, "transfer-encoding")
}
