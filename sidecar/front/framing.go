package front

import (
	"bytes"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Fault is a request that HTTP itself does not allow (RFC 9110, RFC 9112). Its
// connection ends with the answer.
type Fault struct {
	Status int
	Reason string // a sentence for the user, without its full stop
	Plain  bool   // to be answered in plain text: the client does not speak TLS
}

func (f *Fault) Error() string { return f.Reason }

func (h *Head) fail(status int, reason string) {
	if h.fault == nil {
		h.fault = &Fault{Status: status, Reason: reason}
	}
}

// judge refuses what fasthttp's parser lets through although RFC 9112 does not,
// or although two parsers could read it in two ways: a request head that means
// one thing here and another at the model server is how requests are smuggled.
//
// Let through by fasthttp and refused here, or while the lines are read: an
// unknown HTTP version, Content-Length beside Transfer-Encoding,
// "Transfer-Encoding: identity", folded lines, control bytes in values, bytes
// outside ASCII in the target, absolute targets of any scheme, several Host or
// Expect fields and any number of fields. The ends of lines are looked at by the
// guard before.
func (h *Head) judge() {
	hosts, lengths, codings := h.field(host).count, h.field(contentLength).count, h.field(transferEncoding).count
	expectations := h.field(expect).count
	switch {
	case hosts > 1 || h.HTTP11 && hosts == 0:
		h.fail(400, "Send exactly one Host header")
	case lengths > 1 || lengths > 0 && codings > 0:
		h.fail(400, "Send exactly one of Content-Length and Transfer-Encoding")
	case lengths == 1 && !isLength(h.Value(contentLength)):
		h.fail(400, "Content-Length is not a number")
	case codings > 1 || codings > 0 && (!h.HTTP11 || !http1.EqualFold(h.Value(transferEncoding), "chunked")):
		h.fail(400, "The only transfer coding understood is chunked")
	case expectations > 1 || expectations > 0 && !http1.EqualFold(h.Value(expect), "100-continue"):
		h.fail(417, "The only expectation understood is 100-continue")
	}
}

// plainTarget reports whether every byte is visible ASCII and none is '#', which
// starts a fragment and never belongs to a request.
func plainTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(target) > 0
}

// plainForm reports whether a target, where it is not a path, is in the absolute
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

// shadowsFraming finds Content_Length and Transfer_Encoding: some servers read
// an underscore as a hyphen (the CGI convention) and would frame by them.
func shadowsFraming(name []byte) bool {
	hyphened := bytes.ReplaceAll(name, []byte("_"), []byte("-"))
	return http1.EqualFold(hyphened, "content-length") || http1.EqualFold(hyphened, "transfer-encoding")
}

func isLength(b []byte) bool {
	_, ok := http1.ParseLength(b)
	return ok
}
