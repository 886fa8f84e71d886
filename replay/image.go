package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// An image is the content of a state file, word by word: a page with a header
// that never changes after it was made, a page whose first word says which
// window is the current key's, and the windows, each at the begin of a page. The
// header changes once at most: when a file is opened that has fewer windows than
// there are to be, and is made longer.
type image []uint64

const (
	pageSize    = 4096
	pageWords   = pageSize / 8
	magic       = "usher replay window\n"
	version     = 2
	headerBytes = 136 // magic to windows' digests, the checksum after it
	currentAt   = pageWords
)

// Offsets in the header page.
const (
	atVersion   = 24
	atWindow    = 32 // 32 bits
	atMore      = 36 // 32 bits: how many windows there are beyond two
	atEndpoints = 40
	atURLs      = 72
	atChecksum  = 104 // SHA-256 of all that stands before it
)

func slotBytes(blocks int) int {
	n := 8 * (slotWords + blocks)
	return (n + pageSize - 1) / pageSize * pageSize
}

func fileBytes(slots, blocks int) int { return 2*pageSize + slots*slotBytes(blocks) }

// slotAt is the first word of a window.
func slotAt(i, blocks int) int { return fileBytes(i, blocks) / 8 }

// newImage has all windows blank.
func newImage(cfg Config, blocks int) image {
	m := make(image, slotAt(cfg.Keys, blocks))
	copy(m.bytes(), header(cfg))
	m.setCurrent(0)
	for i := range cfg.Keys {
		blank(m.slot(i, blocks))
	}
	return m
}

// slots is how many windows there are.
func (m image) slots(blocks int) int { return (8*len(m) - 2*pageSize) / slotBytes(blocks) }

// bytes is the same memory as the file has it.
func (m image) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(m))), 8*len(m))
}

// slot is the memory of a window.
func (m image) slot(i, blocks int) []uint64 {
	at := slotAt(i, blocks)
	return m[at : at+slotWords+blocks]
}

// currentWord is the first word of the second page, by which of the windows is
// the current key's.
func currentWord(i int) uint64 { return check(100 + uint64(i)) }

// current is which window is the current key's; -1: the word says none of them.
func (m image) current(blocks int) int {
	for i := range m.slots(blocks) {
		if m[currentAt] == currentWord(i) {
			return i
		}
	}
	return -1
}

func (m image) setCurrent(i int) { m[currentAt] = currentWord(i) }

// header is the page that says whose file it is.
func header(cfg Config) []byte {
	page := make([]byte, pageSize)
	copy(page, magic)
	binary.LittleEndian.PutUint64(page[atVersion:], version)
	binary.LittleEndian.PutUint32(page[atWindow:], uint32(cfg.Window))
	binary.LittleEndian.PutUint32(page[atMore:], uint32(cfg.Keys-2))
	endpoints, urls := digest(cfg.Identity.Endpoints), digest(cfg.Identity.WorkerURLs)
	copy(page[atEndpoints:], endpoints[:])
	copy(page[atURLs:], urls[:])
	sum := sha256.Sum256(page[:atChecksum])
	copy(page[atChecksum:], sum[:])
	return page
}

// digest stands for a set of names, in any order.
func digest(names []string) [sha256.Size]byte {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var text []byte
	for _, n := range names {
		text = binary.LittleEndian.AppendUint64(text, uint64(len(n)))
		text = append(text, n...)
	}
	return sha256.Sum256(text)
}

// checkHeader tells damage from another worker's file, and how many windows
// there are.
func checkHeader(page []byte, cfg Config) (slots int, err error) {
	sum := sha256.Sum256(page[:atChecksum])
	switch {
	case !bytes.HasPrefix(page, []byte(magic)):
		return 0, fmt.Errorf("%w: it is no state file", ErrDamaged)
	case !bytes.Equal(sum[:], page[atChecksum:headerBytes]):
		return 0, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	case binary.LittleEndian.Uint64(page[atVersion:]) != version:
		return 0, fmt.Errorf("%w: its version is unknown", ErrDamaged)
	}
	for _, b := range page[headerBytes:] {
		if b != 0 {
			return 0, fmt.Errorf("%w: bytes after its header", ErrDamaged)
		}
	}
	more := binary.LittleEndian.Uint32(page[atMore:])
	if more > MaxKeys-2 {
		return 0, fmt.Errorf("%w: it has too many windows", ErrDamaged)
	}
	slots = 2 + int(more)
	want := header(cfg)
	for _, part := range []struct {
		name     string
		from, to int
	}{
		{"endpoint", atEndpoints, atURLs}, {"worker url", atURLs, atChecksum}, {"window size", atWindow, atMore},
	} {
		if !bytes.Equal(page[part.from:part.to], want[part.from:part.to]) {
			return 0, fmt.Errorf("%w: its %s is another; move it away to begin with an empty window", ErrForeign, part.name)
		}
	}
	return slots, nil
}

// checkRest checks what is neither header nor window.
func (m image) checkRest(blocks int) error {
	if m.current(blocks) < 0 {
		return fmt.Errorf("%w: it has no current window", ErrDamaged)
	}
	rests := []image{m[currentAt+1 : 2*pageWords]}
	for i := range m.slots(blocks) {
		used := slotAt(i, blocks) + slotWords + blocks
		rests = append(rests, m[used:slotAt(i+1, blocks)])
	}
	for _, rest := range rests {
		for _, word := range rest {
			if word != 0 {
				return fmt.Errorf("%w: bytes where none belong", ErrDamaged)
			}
		}
	}
	return nil
}
