//go:build unix

package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The state file: a page with a header that never changes after it was made, a
// page whose first word says which window is the current key's, and the windows,
// each at the begin of a page. The header changes once at most: when a file is
// opened that has fewer windows than there are to be, and is made longer.
const (
	pageSize    = 4096
	magic       = "usher replay window\n"
	version     = 2
	headerBytes = 136 // magic to windows' digests, the checksum after it
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

// A file is a state file, locked and mapped.
type file struct {
	f     *os.File
	data  []byte
	slots int // windows, two or more
}

// openFile opens the state file, or makes it whole under another name first, so
// that a half-made one is never found.
func openFile(cfg Config, blocks int) (*file, error) {
	for range 3 {
		f, err := os.OpenFile(cfg.Path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			if err := create(cfg, blocks); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, withoutPath(err)
		}
		opened, err := mapFile(f, cfg, blocks)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return opened, nil
	}
	return nil, errors.New("it is removed as fast as it is made")
}

func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func slotBytes(blocks int) int {
	n := 8 * (slotWords + blocks)
	return (n + pageSize - 1) / pageSize * pageSize
}

func fileBytes(slots, blocks int) int { return 2*pageSize + slots*slotBytes(blocks) }

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

// create makes a file with all windows blank. Every byte is written, so that
// the disk has a place for it: a store into the mapping must never find it full.
func create(cfg Config, blocks int) error {
	f, err := os.CreateTemp(filepath.Dir(cfg.Path), "."+filepath.Base(cfg.Path)+".*")
	if err != nil {
		return withoutPath(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	content := make([]byte, fileBytes(cfg.Keys, blocks))
	copy(content, header(cfg))
	image := &file{data: content}
	image.setCurrent(0)
	for i := range cfg.Keys {
		blank(image.slot(i, blocks))
	}
	if _, err := f.Write(content); err != nil {
		return withoutPath(err)
	}
	if err := f.Sync(); err != nil {
		return withoutPath(err)
	}
	// A link fails where a rename would replace: of two that make the file at
	// once, the second uses the first one's.
	if err := os.Link(f.Name(), cfg.Path); err != nil && !errors.Is(err, os.ErrExist) {
		var l *os.LinkError
		if errors.As(err, &l) {
			err = l.Err
		}
		return err
	}
	return nil
}

func mapFile(f *os.File, cfg Config, blocks int) (*file, error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w by another process", ErrLocked)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, 0); err != nil || info.Size() < 2*pageSize {
		return nil, fmt.Errorf("%w: it is too short", ErrDamaged)
	}
	slots, err := checkHeader(page, cfg)
	if err != nil {
		return nil, err
	}
	size := fileBytes(slots, blocks)
	if slots < cfg.Keys && info.Size() >= int64(size) {
		if err := grow(f, cfg, slots, blocks); err != nil {
			return nil, fmt.Errorf("making it longer: %w", withoutPath(err))
		}
		slots, size = cfg.Keys, fileBytes(cfg.Keys, blocks)
	} else if info.Size() != int64(size) {
		return nil, fmt.Errorf("%w: it has %d bytes and not %d", ErrDamaged, info.Size(), size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping it: %w", err)
	}
	opened := &file{f, data, slots}
	if err := opened.checkRest(blocks); err != nil {
		_ = opened.close()
		return nil, err
	}
	return opened, nil
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

func (f *file) word(offset int) *uint64 { return (*uint64)(unsafe.Pointer(&f.data[offset])) }

// currentWord is the first word of the second page, by which of the windows is
// the current key's.
func currentWord(i int) uint64 { return check(100 + uint64(i)) }

// current is which window is the current key's; -1: the word says none of them.
func (f *file) current() int {
	for i := range f.slots {
		if *f.word(pageSize) == currentWord(i) {
			return i
		}
	}
	return -1
}

func (f *file) setCurrent(i int) { atomic.StoreUint64(f.word(pageSize), currentWord(i)) }

// checkRest checks what is neither header nor window.
func (f *file) checkRest(blocks int) error {
	if f.current() < 0 {
		return fmt.Errorf("%w: it has no current window", ErrDamaged)
	}
	rests := [][]byte{f.data[pageSize+8 : 2*pageSize]}
	for i := range f.slots {
		used := fileBytes(i, blocks) + 8*(slotWords+blocks)
		rests = append(rests, f.data[used:fileBytes(i+1, blocks)])
	}
	for _, rest := range rests {
		if bytes.ContainsFunc(rest, func(r rune) bool { return r != 0 }) {
			return fmt.Errorf("%w: bytes where none belong", ErrDamaged)
		}
	}
	return nil
}

// slot is the memory of a window.
func (f *file) slot(i, blocks int) []uint64 { return f.words(fileBytes(i, blocks), blocks) }

func (f *file) words(offset, blocks int) []uint64 {
	return unsafe.Slice(f.word(offset), slotWords+blocks)
}

func (f *file) close() error {
	err := unix.Msync(f.data, unix.MS_SYNC)
	if e := unix.Munmap(f.data); err == nil {
		err = e
	}
	if e := f.f.Close(); err == nil {
		err = e
	}
	return err
}
