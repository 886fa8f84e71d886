package status

import (
	"sync"
	"time"
)

// RefusalsKept is how many refusals are remembered.
const RefusalsKept = 50

// A Refusal is a request that was refused, or whose answer was broken off. It contains
// no prompt, signature or key.
type Refusal struct {
	Seq       uint64    `json:"seq"` // counts refusals; set by the Recorder
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Client    string    `json:"client"`
	Route     string    `json:"route"`
	Reqnum    int64     `json:"reqnum"` // -1: none was read
	Code      string    `json:"code"`
	Status    int       `json:"status"`
	WaitedMS  float64   `json:"waited_ms"`
	Detail    string    `json:"detail,omitempty"` // why the model server failed
}

// refusals is a ring of the latest ones.
type refusals struct {
	mu   sync.Mutex
	seq  uint64
	ring [RefusalsKept]Refusal
}

func (r *refusals) add(x Refusal) {
	r.mu.Lock()
	r.seq++
	x.Seq = r.seq
	r.ring[r.seq%RefusalsKept] = x
	r.mu.Unlock()
}

// last lists them, newest first.
func (r *refusals) last() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Refusal, min(r.seq, RefusalsKept))
	for i := range list {
		list[i] = r.ring[(r.seq-uint64(i))%RefusalsKept]
	}
	return list
}
