package asynclog

const (
	// maxHeld is how many bytes of lines may wait to be written.
	maxHeld = 4 << 20
	// chunkBytes is how much is written at once: a system call for each line would
	// take a twelfth of the time that a request costs.
	chunkBytes = 32 << 10
	// maxSpare is how many empty chunks are kept for reuse.
	maxSpare = 8
)

// A backlog is the lines that wait to be written, and the count of those left out.
// Make it with newBacklog. It is not safe for concurrent use.
type backlog struct {
	chunks  [][]byte // of whole lines, in order; the last one may still grow
	spare   [][]byte
	held    int               // bytes in chunks, and of what is being written
	leaving bool              // lines are being left out
	leftOut map[string]uint64 // by outcome, since report was last called
	total   map[string]uint64 // by outcome, since the start
	report  func(leftOut map[string]uint64) []byte
}

func newBacklog() backlog {
	return backlog{
		leftOut: make(map[string]uint64), total: make(map[string]uint64),
		report: func(map[string]uint64) []byte { return nil },
	}
}

// put takes a line, or leaves it out and counts it under outcome.
func (b *backlog) put(line []byte, outcome func() string) (kept bool) {
	if b.leaving || b.held+len(line) > maxHeld {
		b.leaving = true
		o := outcome()
		b.leftOut[o]++
		b.total[o]++
		return false
	}
	b.add(line)
	return true
}

func (b *backlog) add(line []byte) {
	b.held += len(line)
	last := len(b.chunks) - 1
	if last < 0 || len(b.chunks[last])+len(line) > cap(b.chunks[last]) {
		var chunk []byte
		if n := len(b.spare); n > 0 && len(line) <= chunkBytes {
			chunk, b.spare = b.spare[n-1], b.spare[:n-1]
		} else {
			chunk = make([]byte, 0, max(chunkBytes, len(line)))
		}
		b.chunks = append(b.chunks, chunk)
		last++
	}
	b.chunks[last] = append(b.chunks[last], line...)
}

// free frees the memory of a chunk that was written.
func (b *backlog) free(chunk []byte) {
	b.held -= len(chunk)
	if cap(chunk) == chunkBytes && len(b.spare) < maxSpare {
		b.spare = append(b.spare, chunk[:0])
	}
}

// resume stops leaving lines out once half of the memory is free, and reports
// whether it added the line that says how many were left out.
func (b *backlog) resume() (added bool) {
	if !b.leaving || b.held > maxHeld/2 {
		return false
	}
	b.leaving = false
	if line := b.report(b.leftOut); len(line) > 0 {
		b.add(line)
		added = true
	}
	clear(b.leftOut)
	return added
}
