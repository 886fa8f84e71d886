package envelope

// cut moves the kept runs together, in place, and returns them as one object.
// The longest run, which is the prompt's as a rule, stays where it is; the others
// are moved up to it. There is always room: between two runs a ticket member of
// some bytes is taken out, and one comma goes in.
func (s *scanner) cut(body []byte) []byte {
	if len(s.runs) == 0 {
		return append(body[:0], "{}"...)
	}
	longest := 0
	for i, r := range s.runs {
		if r.to-r.from > s.runs[longest].to-s.runs[longest].from {
			longest = i
		}
	}
	from, to := s.runs[longest].from, s.runs[longest].to
	for i := longest - 1; i >= 0; i-- {
		r := s.runs[i]
		from--
		body[from] = ','
		from -= copy(body[from-(r.to-r.from):from], body[r.from:r.to])
	}
	for _, r := range s.runs[longest+1:] {
		body[to] = ','
		to++
		to += copy(body[to:], body[r.from:r.to])
	}
	// The braces come last: until here their places may hold a run's bytes.
	from--
	body[from] = '{'
	body[to] = '}'
	return body[from : to+1]
}
