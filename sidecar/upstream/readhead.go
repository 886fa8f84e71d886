package upstream

import (
	"bytes"
	"fmt"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// maxInformational bounds how many 1xx heads are skipped: some servers send a 102 every
// few seconds while they work.
const maxInformational = 1024

// readHead reads heads up to the final one, and finds out how its body ends.
func (r *Response) readHead() error {
	for range maxInformational + 1 {
		if err := r.readOneHead(); err != nil {
			return err
		}
		switch {
		case r.status == 101:
			return fmt.Errorf("%w: it switched protocols, which nobody asked for", ErrBroken)
		case r.status >= 200:
			return r.frame()
		}
	}
	return fmt.Errorf("%w: too many informational responses", ErrBroken)
}

// readOneHead reads a status line and its fields. It has a strict parser of its own,
// because fasthttp's does not keep a head as it arrived and accepts ambiguous ones.
func (r *Response) readOneHead() error {
	r.reset()
	line, err := r.readLine()
	if err != nil {
		return err
	}
	http11, err := r.parseStatusLine(line)
	if err != nil {
		return err
	}
	r.keep = r.keep && http11
	for {
		line, err := r.readLine()
		if err != nil {
			return err
		}
		if line.from == line.to {
			return nil
		}
		if err := r.addField(line); err != nil {
			return err
		}
	}
}

// readLine reads one line into the head and returns it without its line end. A bare LF
// also ends a line (RFC 9112 section 2.2); it is not passed on.
func (r *Response) readLine() (span, error) {
	l := r.cn.line
	from := len(r.text)
	for {
		if l.ahead.Empty() {
			err := l.sock.FillAhead(&l.ahead)
			for err != nil && r.cn.upload.waits(err) {
				err = l.sock.FillAhead(&l.ahead)
			}
			if err != nil {
				return span{}, err
			}
		}
		ahead := l.ahead.Bytes()
		end := bytes.IndexByte(ahead, '\n') + 1
		piece := ahead
		if end > 0 {
			piece = ahead[:end]
		}
		if len(r.text)+len(piece) > r.cn.client.o.MaxHeadBytes {
			return span{}, fmt.Errorf("%w: its head is too large", ErrBroken)
		}
		r.text = append(r.text, piece...)
		l.ahead.Drop(len(piece))
		if end > 0 {
			break
		}
	}
	to := len(r.text) - 1
	if to > from && r.text[to-1] == '\r' {
		to--
	}
	return span{from, to}, nil
}

// frame finds out where the body ends (RFC 9112 section 6.3). An ambiguous head is an
// error.
func (r *Response) frame() error {
	lengths, codings := 0, 0
	for _, f := range r.fields {
		name, value := r.at(f.name), r.at(f.value)
		switch {
		case http1.EqualFold(name, "content-length"):
			n, ok := parseLengths(value)
			if !ok || lengths > 0 && n != r.length {
				return fmt.Errorf("%w: an ambiguous Content-Length", ErrBroken)
			}
			lengths++
			r.length = n
		case http1.EqualFold(name, "transfer-encoding"):
			if codings++; codings > 1 || !http1.EqualFold(value, "chunked") {
				return fmt.Errorf("%w: a transfer coding other than chunked", ErrBroken)
			}
		case http1.EqualFold(name, "connection"):
			r.keep = r.keep && !http1.HasElement(value, []byte("close"))
		case http1.EqualFold(name, "keep-alive"):
			r.cn.line.heed(value)
		}
	}
	switch {
	case lengths > 0 && codings > 0:
		return fmt.Errorf("%w: both Content-Length and Transfer-Encoding", ErrBroken)
	case r.toHEAD:
		r.length = 0
	case r.Bodiless():
		// A server that announces chunks here may really send them.
		r.length, r.keep = 0, r.keep && codings == 0
	case codings > 0:
		r.length, r.framing = -1, byChunks
		r.chunks = http1.NewChunked(http1.ChunkOptions{BlanksAfterSize: true, MaxTrailer: int32(r.cn.client.o.MaxHeadBytes)})
	case lengths == 0:
		r.length, r.framing, r.keep = -1, byClose, false
	}
	if r.left = r.length; r.length == 0 {
		r.finished()
	}
	return nil
}

// parseLengths parses a length, or a list that repeats one length, into which a server or
// a proxy may have joined several lines (RFC 9112 section 6.3). Empty elements of a list
// are ignored (RFC 9110 section 5.6.1).
func parseLengths(value []byte) (n int64, ok bool) {
	if n, ok = http1.ParseLength(value); ok {
		return n, true
	}
	for element := range bytes.SplitSeq(value, []byte(",")) {
		if element = http1.TrimBlanks(element); len(element) == 0 {
			continue
		}
		m, number := http1.ParseLength(element)
		if !number || ok && m != n {
			return 0, false
		}
		n, ok = m, true
	}
	return n, ok
}
