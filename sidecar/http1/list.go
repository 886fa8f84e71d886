package http1

import "bytes"

// HasElement reports whether a comma-separated list (RFC 9110 section 5.6.1) contains an
// element; both may be in any case.
func HasElement(list, element []byte) bool {
	for len(list) > 0 {
		part := list
		if comma := bytes.IndexByte(list, ','); comma >= 0 {
			part, list = list[:comma], list[comma+1:]
		} else {
			list = nil
		}
		if sameFold(TrimBlanks(part), element) {
			return true
		}
	}
	return false
}

// sameFold compares, ignoring the case of ASCII letters only: Unicode would fold the
// Kelvin sign to k.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if Lower(a[i]) != Lower(b[i]) {
			return false
		}
	}
	return true
}

// NamedByConnection is the set of fields that a message's Connection fields name; they
// are hop-by-hop (RFC 9110 section 7.6.1). The zero value is empty.
type NamedByConnection [][]byte

// Add takes the value of a Connection field, and keeps it if it may name a field, which
// is rare.
func (n *NamedByConnection) Add(value []byte) {
	if !EqualFold(value, "keep-alive") && !EqualFold(value, "close") {
		*n = append(*n, value)
	}
}

// Has reports whether a field is named, in any case.
func (n NamedByConnection) Has(field []byte) bool {
	for _, value := range n {
		if HasElement(value, field) {
			return true
		}
	}
	return false
}
