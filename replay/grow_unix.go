//go:build unix

package replay

import "os"

// grow adds blank windows to those that are there. Only when they are on the disk
// does the header count them: one that is killed before that leaves bytes after
// the windows, which the next one writes again.
func grow(f *os.File, cfg Config, slots, blocks int) error {
	more := newImage(cfg, blocks).bytes()[fileBytes(slots, blocks):]
	at := int64(fileBytes(slots, blocks))
	if err := f.Truncate(at); err != nil {
		return err
	}
	if _, err := f.WriteAt(more, at); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if _, err := f.WriteAt(header(cfg), 0); err != nil {
		return err
	}
	return f.Sync()
}
