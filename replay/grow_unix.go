//go:build unix

package replay

import "os"

// grow appends blank windows to the file. The header counts them only once they are
// on disk: if the process is killed before that, the next start overwrites the
// bytes after the counted windows.
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
