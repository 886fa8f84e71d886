package sidecar

import (
	"github.com/valyala/fasthttp"
)

// headerTraceparent names the request's place in a distributed trace.
const headerTraceparent = "Traceparent"

// traceIDOf returns the id of the trace that a request belongs to, "" where it
// names none or names it wrongly (W3C Trace Context, section 3.2). Two of the
// header name none.
func traceIDOf(h *fasthttp.RequestHeader) string {
	if len(h.Peek(headerTraceparent)) == 0 {
		return "" // nearly every request of today: no allocation
	}
	all := h.PeekAll(headerTraceparent)
	if len(all) != 1 || !isTraceparent(all[0]) {
		return ""
	}
	return string(all[0][3:35])
}

// isTraceparent tells whether b is version "-" trace-id "-" parent-id "-" flags
// in lower-case hex. Versions to come may append to it; ff is none.
func isTraceparent(b []byte) bool {
	const length = 55
	if len(b) < length || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return false
	}
	version := string(b[:2])
	if version == "ff" || version == "00" && len(b) != length || len(b) > length && b[length] != '-' {
		return false
	}
	return isHex(b[:2]) && isHex(b[3:35]) && !isZero(b[3:35]) && isHex(b[36:52]) && !isZero(b[36:52]) && isHex(b[53:55])
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}
