package upstream

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Source is a request body that is read while it is sent. A goroutine of the use reads
// it, while the answer may be read already.
type Source interface {
	// Read reads what is available, and waits if nothing is. io.EOF means the true end,
	// and may come with the last bytes. Any other error ends the use: the model server's
	// connection is reset, and RoundTrip, or reading the Response, fails with that error.
	Read(p []byte) (int, error)
	// Stop makes Read fail from a given time on. It is called from another goroutine.
	Stop(at time.Time)
}

// An upload sends a Source to the model server.
type upload struct {
	cn      *Conn
	line    *line
	source  Source
	chunked bool
	timeout time.Duration // for the server to take a piece, and after the last one to answer

	asking atomic.Bool           // reading the source: we do not wait for the server
	last   atomic.Int64          // end of the last read of the source or write to the server, since start
	failed atomic.Pointer[error] // the error of the source
	start  time.Time

	mu   sync.Mutex // held while the write deadline is set
	stop time.Time  // when writing fails; zero: not yet
}

// A piece has room around it for its chunk framing.
const (
	pieceSize    = 32 << 10
	beforePiece  = len("8000\r\n")
	afterPiece   = len("\r\n0\r\n\r\n")
	lastChunkEnd = "0\r\n\r\n"
)

// pieces are buffers for bytes on their way from a source to the server.
var pieces = sync.Pool{New: func() any { return new([beforePiece + pieceSize + afterPiece]byte) }}

// sendSource begins to send the rest of the head, which the socket did not take, and then
// the body. endRest gets the result.
func (cn *Conn) sendSource(head []byte, req *Request) {
	u := &upload{
		cn: cn, line: cn.line, source: req.Source, chunked: req.Length < 0,
		timeout: cn.client.o.ResponseTimeout, start: time.Now(),
	}
	written := make(chan error, 1)
	cn.upload, cn.rest = u, written
	go func() { written <- u.run(head) }()
}

// run sends everything and returns the first error.
func (u *upload) run(head []byte) error {
	if len(head) > 0 {
		if err := u.write(head); err != nil {
			return err
		}
	}
	piece := pieces.Get().(*[beforePiece + pieceSize + afterPiece]byte)
	defer pieces.Put(piece)
	for {
		u.asking.Store(true)
		n, err := u.source.Read(piece[beforePiece : beforePiece+pieceSize])
		u.last.Store(int64(time.Since(u.start)))
		u.asking.Store(false)
		if err != nil && err != io.EOF {
			// Half a request must not look complete.
			u.failed.Store(&err)
			u.cn.Cancel()
			return err
		}
		if framed := u.frame(piece[:], n, err == io.EOF); len(framed) > 0 {
			if err := u.write(framed); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// frame makes a chunk of the first n bytes of a piece, and adds the last chunk at the
// end. A body of declared length stays as it is.
func (u *upload) frame(piece []byte, n int, last bool) []byte {
	from, to := beforePiece, beforePiece+n
	if !u.chunked {
		return piece[from:to]
	}
	if n > 0 {
		var few [beforePiece]byte
		size := append(strconv.AppendInt(few[:0], int64(n), 16), "\r\n"...)
		from -= copy(piece[from-len(size):], size)
		to += copy(piece[to:], "\r\n")
	}
	if last {
		to += copy(piece[to:], lastChunkEnd)
	}
	return piece[from:to]
}

// write writes a piece, within the server's time-out.
func (u *upload) write(p []byte) error {
	u.mu.Lock()
	until := time.Now().Add(u.timeout)
	if !u.stop.IsZero() && u.stop.Before(until) {
		until = u.stop
	}
	_ = u.line.nc.SetWriteDeadline(until)
	u.mu.Unlock()
	_, err := u.line.sock.Write(p)
	u.last.Store(int64(time.Since(u.start)))
	return err
}

// end makes reading the source and writing fail from a given time on.
func (u *upload) end(at time.Time) {
	u.mu.Lock()
	u.stop = at
	_ = u.line.nc.SetWriteDeadline(at)
	u.mu.Unlock()
	u.source.Stop(at)
}

// waits reports whether to go on waiting for the answer although that failed with err:
// the server's time-out starts with the last piece it got, and does not run while the
// source is being read. It sets the read deadline. u may be nil.
func (u *upload) waits(err error) bool {
	if u == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	left := u.timeout
	if !u.asking.Load() {
		left -= time.Since(u.start) - time.Duration(u.last.Load())
	}
	return left > 0 && u.line.nc.SetReadDeadline(time.Now().Add(left)) == nil
}
