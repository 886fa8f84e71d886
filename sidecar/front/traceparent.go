package front

// TraceID returns the id of the trace that the request belongs to; "" if it names none,
// or is malformed (W3C Trace Context, section 3.2). Several traceparent fields name none.
func (h *Head) TraceID() string {
	if value := h.Only(Traceparent); isTraceparent(value) {
		return string(value[3:35])
	}
	return ""
}

// isTraceparent reports whether b is version "-" trace-id "-" parent-id "-" flags in
// lower-case hex. Future versions may append to it; ff is not a version.
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
