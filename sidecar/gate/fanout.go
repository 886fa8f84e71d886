package gate

import "sync/atomic"

// mostRuns bounds how many requests one request can count as.
const mostRuns = 1 << 20

// A fanout counts the requests at the model server as the server does: one that
// asks for three completions counts as three. The zero value is ready; it is safe
// for concurrent use. A request that counts as one, as most do, costs nothing.
type fanout struct {
	more    atomic.Int64 // beyond one for each request
	unknown atomic.Int64 // requests whose number of runs is not known
}

// add counts a request that counts as runs (0: not known), or with a sign of -1 takes
// it back.
func (f *fanout) add(runs uint64, sign int64) {
	switch {
	case runs == 0:
		f.unknown.Add(sign)
	case runs > 1:
		f.more.Add(sign * int64(min(runs, mostRuns)-1))
	}
}

// Beyond returns by how much the model server's count of the requests that hold a slot
// exceeds ours, if Config.Engine says how the server counts. It is uncertain if the
// number of runs of some request is not known.
func (g *Gate) Beyond() (more int, uncertain bool) {
	return int(g.fanout.more.Load()), g.fanout.unknown.Load() > 0
}
