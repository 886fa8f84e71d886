package crypto

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MaxKeyBytes is the largest size of a file with keys or certificates that is read.
const MaxKeyBytes = 1 << 20

// Errors of ReadRegular, besides the system's.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLong    = errors.New("longer than 1 MiB")
)

// ReadRegular reads a regular file of at most MaxKeyBytes. It refuses anything else, and
// does not block on a FIFO. Errors name the path:
// ErrNotRegular, ErrTooLong, or the system's.
func ReadRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w but %s", path, ErrNotRegular, kindOf(info.Mode()))
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxKeyBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxKeyBytes {
		return nil, fmt.Errorf("%s: %w", path, ErrTooLong)
	}
	return text, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
