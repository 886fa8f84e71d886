package envelope

// cut joins the kept runs in place and returns them as one object. The longest
// run, usually the one with the prompt, stays put and the others are moved next
// to it. There is always room: a whole ticket member is removed between two runs,
// and only a comma is added.
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
	// Last, because until now a run may have occupied these bytes.
	from--
	body[from] = '{'
	body[to] = '}'
	return body[from : to+1]
}
