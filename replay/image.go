package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// An image is the content of a state file in words: a page with the header, a page
// whose first word says which window is the current key's, and the windows, each
// at the start of a page. The header changes only when a file is opened that has
// fewer windows than configured, and is extended.
type image []uint64

const (
	pageSize    = 4096
	pageWords   = pageSize / 8
	magic       = "usher replay window\n"
	version     = 2
	headerBytes = 136 // from the magic to the end of the checksum
	currentAt   = pageWords
)

// Offsets in the header page.
const (
	atVersion   = 24
	atWindow    = 32 // 32 bits
	atMore      = 36 // 32 bits: the number of windows beyond two
	atEndpoints = 40
	atURLs      = 72
	atChecksum  = 104 // SHA-256 of everything before it
)

func slotBytes(blocks int) int {
	n := 8 * (slotWords + blocks)
	return (n + pageSize - 1) / pageSize * pageSize
}

func fileBytes(slots, blocks int) int { return 2*pageSize + slots*slotBytes(blocks) }

// slotAt returns the index of a window's first word.
func slotAt(i, blocks int) int { return fileBytes(i, blocks) / 8 }

// newImage returns an image whose windows are all blank.
func newImage(cfg Config, blocks int) image {
	m := make(image, slotAt(cfg.Keys, blocks))
	copy(m.bytes(), header(cfg))
	m.setCurrent(0)
	for i := range cfg.Keys {
		blank(m.slot(i, blocks))
	}
	return m
}

// slots returns the number of windows.
func (m image) slots(blocks int) int { return (8*len(m) - 2*pageSize) / slotBytes(blocks) }

// bytes returns the same memory as bytes.
func (m image) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(m))), 8*len(m))
}

// slot returns the words of a window.
func (m image) slot(i, blocks int) []uint64 {
	at := slotAt(i, blocks)
	return m[at : at+slotWords+blocks]
}

// currentWord returns the first word of the second page for when the i-th window is
// the current key's.
func currentWord(i int) uint64 { return check(100 + uint64(i)) }

// current returns which window is the current key's, or -1 if the word is not valid.
func (m image) current(blocks int) int {
	for i := range m.slots(blocks) {
		if m[currentAt] == currentWord(i) {
			return i
		}
	}
	return -1
}

func (m image) setCurrent(i int) { m[currentAt] = currentWord(i) }

// header returns the first page, which says which worker the file belongs to.
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

// digest returns a hash of a set of names, independent of their order.
func digest(names []string) [sha256.Size]byte {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var text []byte
	for _, n := range names {
		text = binary.LittleEndian.AppendUint64(text, uint64(len(n)))
		text = append(text, n...)
	}
	return sha256.Sum256(text)
}

// checkHeader returns the number of windows. It distinguishes damage (ErrDamaged)
// from a file that belongs to another worker (ErrForeign).
func checkHeader(page []byte, cfg Config) (slots int, err error) {
	sum := sha256.Sum256(page[:atChecksum])
	switch {
	case !bytes.HasPrefix(page, []byte(magic)):
		return 0, fmt.Errorf("%w: it is not a state file", ErrDamaged)
	case !bytes.Equal(sum[:], page[atChecksum:headerBytes]):
		return 0, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	case binary.LittleEndian.Uint64(page[atVersion:]) != version:
		return 0, fmt.Errorf("%w: its version is unknown", ErrDamaged)
	}
	for _, b := range page[headerBytes:] {
		if b != 0 {
			return 0, fmt.Errorf("%w: unexpected bytes after its header", ErrDamaged)
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
			return 0, fmt.Errorf("%w: its %s differs; move it away to begin with an empty window", ErrForeign, part.name)
		}
	}
	return slots, nil
}

// checkRest checks the bytes that belong to neither the header nor a window.
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
				return fmt.Errorf("%w: unexpected bytes between its windows", ErrDamaged)
			}
		}
	}
	return nil
}
