package envelope

// A run is a stretch of members that are kept, with the commas between them.
type run struct{ from, to int }

// kept is the parts of a flat body that are forwarded. The zero value keeps
// nothing.
type kept struct {
	runs   []run
	going  bool // the next member that is kept continues the last run
	behind bool // a member was dropped before the first run
}

// keep adds a member to the current run, or begins a run.
func (k *kept) keep(from, to int) {
	if k.going {
		k.runs[len(k.runs)-1].to = to
		return
	}
	k.runs = append(k.runs, run{from, to})
	k.going = true
}

// drop leaves out a member.
func (k *kept) drop() {
	k.going = false
	k.behind = k.behind || len(k.runs) == 0
}

// stretch adds the white space next to the body's braces to the runs beside it;
// what is inside of the braces begins at first and ends at last.
func (k *kept) stretch(first, last int) {
	if len(k.runs) > 0 && !k.behind {
		k.runs[0].from = first
	}
	if k.going {
		k.runs[len(k.runs)-1].to = last
	}
}

// cut joins the runs in place and returns them as one object. The longest run,
// usually the one with the prompt, stays put and the others are moved next to it.
// There is always room: a whole ticket member is removed between two runs, and only
// a comma is added.
func (k *kept) cut(body []byte) []byte {
	if len(k.runs) == 0 {
		return append(body[:0], "{}"...)
	}
	longest := 0
	for i, r := range k.runs {
		if r.to-r.from > k.runs[longest].to-k.runs[longest].from {
			longest = i
		}
	}
	from, to := k.runs[longest].from, k.runs[longest].to
	for i := longest - 1; i >= 0; i-- {
		r := k.runs[i]
		from--
		body[from] = ','
		from -= copy(body[from-(r.to-r.from):from], body[r.from:r.to])
	}
	for _, r := range k.runs[longest+1:] {
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
