package front

import (
	"bytes"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Fault is a request that HTTP itself does not allow (RFC 9110, RFC 9112). The
// connection ends with the answer to it.
type Fault struct {
	Status int
	Reason string // a sentence for the user, without its full stop
	Plain  bool   // answer it without TLS, which the client does not speak
}

func (f *Fault) Error() string { return f.Reason }

func (h *Head) fail(status int, reason string) {
	if h.fault == nil {
		h.fault = &Fault{Status: status, Reason: reason}
	}
}

// judge refuses what fasthttp's parser accepts although RFC 9112 does not allow it, or
// although two parsers could read it in two ways: a request head that means one thing
// here and another at the model server is how requests are smuggled.
//
// Accepted by fasthttp and refused here, or while the lines are parsed: an unknown HTTP
// version, Content-Length together with Transfer-Encoding, "Transfer-Encoding: identity",
// folded lines, control bytes in values, bytes outside ASCII in the target, absolute
// targets of any scheme, several Host or Expect fields, bytes in Host that no host has,
// and any number of fields. The guard has checked the line ends before.
func judge(h *Head) {
	hosts, lengths, codings := h.field(host).count, h.field(contentLength).count, h.field(transferEncoding).count
	expectations := h.field(expect).count
	switch {
	case hosts > 1 || h.HTTP11 && hosts == 0:
		h.fail(400, "Send exactly one Host header")
	case !plainHost(h.Value(host)):
		h.fail(400, "Host is not a host")
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

// plainTarget reports whether every byte is visible ASCII and none is '#', which starts a
// fragment and is never part of a request target.
func plainTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(target) > 0
}

// plainHost reports whether a Host field has only bytes that a host and port may have
// (RFC 3986 section 3.2.2). fasthttp refuses what is malformed in other ways.
func plainHost(value []byte) bool {
	for _, c := range value {
		if !hostBytes[c] {
			return false
		}
	}
	return true
}

var hostBytes = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:[]%") {
		set[c] = true
	}
	return set
}()

// plainForm reports whether a target that is not a path is in the absolute form that a
// request to a web server may have (RFC 9112 section 3.2.2), without user and password,
// which RFC 9110 section 4.2.4 does not allow. The authority and asterisk forms, which
// fasthttp accepts of CONNECT and OPTIONS, pass too; they are not routes.
func plainForm(target []byte) bool {
	scheme, rest, absolute := bytes.Cut(target, []byte("://"))
	if target[0] == '/' || !absolute {
		return true
	}
	authority, _, _ := bytes.Cut(rest, []byte("/"))
	return (http1.EqualFold(scheme, "http") || http1.EqualFold(scheme, "https")) &&
		len(authority) > 0 && bytes.IndexByte(authority, '@') < 0
}

// shadowsFraming reports names like Content_Length and Transfer_Encoding: some servers
// read an underscore as a hyphen (the CGI convention) and would frame the body by them.
func shadowsFraming(name []byte) bool {
	hyphened := bytes.ReplaceAll(name, []byte("_"), []byte("-"))
	return http1.EqualFold(hyphened, "content-length") || http1.EqualFold(hyphened, "transfer-encoding")
}

func isLength(b []byte) bool {
	_, ok := http1.ParseLength(b)
	return ok
}
