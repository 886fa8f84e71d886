package gate

import "sync/atomic"

// mostRuns bounds as how many requests one is counted.
const mostRuns = 1 << 20

// A fanout counts the requests at the model server as the server does: one that
// asks for three completions counts as three. The zero value is ready; it is safe
// for concurrent use. A request that counts as one, as most do, costs nothing.
type fanout struct {
	more    atomic.Int64 // beyond one for each
	unknown atomic.Int64 // requests of which it is not known
}

// add counts a request that runs that many times, or with -1 takes it back. runs is
// 0 if it is not known.
func (f *fanout) add(runs uint64, sign int64) {
	switch {
	case runs == 0:
		f.unknown.Add(sign)
	case runs > 1:
		f.more.Add(sign * int64(min(runs, mostRuns)-1))
	}
}

// Beyond returns by how many the model server's count of the requests that have a
// slot exceeds ours, where Config.Engine says how it counts. It is uncertain if
// some of them may be any number.
func (g *Gate) Beyond() (more int, uncertain bool) {
	return int(g.fanout.more.Load()), g.fanout.unknown.Load() > 0
}
