package gate

import "sync/atomic"

// mostRuns bounds what one request is counted as.
const mostRuns = 1 << 20

// A fanout counts what the requests at the model server are to it: one that asks
// for three completions is three. The zero value counts none; safe for concurrent
// use. One that is one request there, as most are, costs nothing.
type fanout struct {
	more    atomic.Int64 // beyond one for each
	unknown atomic.Int64 // requests of which it is not known
}

// add counts a request that is so many, or with -1 forgets it again; runs is 0
// where it is not known.
func (f *fanout) add(runs uint64, sign int64) {
	switch {
	case runs == 0:
		f.unknown.Add(sign)
	case runs > 1:
		f.more.Add(sign * int64(min(runs, mostRuns)-1))
	}
}

// Beyond is how many more the requests that have a slot are to the model server
// than to us, where Config.Engine says what counts; uncertain: some of them may be
// any number.
func (g *Gate) Beyond() (more int, uncertain bool) {
	return int(g.fanout.more.Load()), g.fanout.unknown.Load() > 0
}
