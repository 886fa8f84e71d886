package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
)

// A client is one kept connection. It does as little HTTP as it can, because it shares
// the machine with what it measures.
type client struct {
	net.Conn
	wire     *wire // beneath TLS; nil without
	requests *requests
	out      []byte // head and ticket of the next request
	in       []byte
}

// Requests are the signed requests of a run, read-only.
type requests struct {
	path    string
	token   bool
	tickets []string // lines as the signer wrote them
	tail    []byte   // the end of every body, after the ticket's members
}

// newRequests prepares the requests of a spec.
func newRequests(s spec, file []byte) (*requests, error) {
	lines := strings.Split(string(file), "\n")
	if s.First+s.Warm+s.Count > len(lines) {
		return nil, fmt.Errorf("%d tickets are too few", len(lines))
	}
	return &requests{
		path: s.Path, token: s.Token, tickets: lines[s.First : s.First+s.Warm+s.Count],
		tail: fmt.Appendf(nil, `, "inputs": "%s", "parameters": {"max_new_tokens": 256}}`, prompt(s.Prompt)),
	}, nil
}

// prompt returns n bytes of English as they stand in JSON, with an escaped newline and
// a quoted word now and then.
func prompt(n int) string {
	const text = `The usher stands at the door and looks at every ticket, once. He says \"good evening\" to those whose ticket is genuine, and lets them in one after the other.\n`
	s := strings.Repeat(text, n/len(text)+1)
	return strings.TrimRight(s[:n], `\`)
}

func dial(s spec, source net.IP, r *requests) (*client, error) {
	d := net.Dialer{}
	if source != nil {
		d.LocalAddr = &net.TCPAddr{IP: source}
	}
	c, err := d.Dial("tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	made := &client{Conn: c, requests: r, in: make([]byte, 4<<10)}
	if s.Secure {
		made.Conn, made.wire, err = secure(c, s)
	}
	return made, err
}

// send writes the request of one ticket.
func (c *client) send(line string) error {
	ticket, token, _ := strings.Cut(line, "\t")
	ticket = ticket[:len(ticket)-1] // without the closing brace
	h := append(c.out[:0], "POST "...)
	h = append(h, c.requests.path...)
	h = append(h, " HTTP/1.1\r\nHost: 203.0.113.7:41234\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\n"...)
	if c.requests.token {
		h = append(append(append(h, "Authorization: Bearer "...), token...), "\r\n"...)
	}
	h = append(h, "Content-Length: "...)
	h = strconv.AppendInt(h, int64(len(ticket)+len(c.requests.tail)), 10)
	h = append(append(h, "\r\n\r\n"...), ticket...)
	defer func() { c.out = h[:0] }()
	if len(c.requests.tail) <= 16<<10 {
		h = append(h, c.requests.tail...)
		_, err := c.Write(h)
		return err
	}
	buffers := net.Buffers{h, c.requests.tail}
	_, err := buffers.WriteTo(c.Conn)
	return err
}

// greet makes sure that the target has accepted the connection and answers on it.
func (c *client) greet() error {
	if _, err := c.Write([]byte("GET /ping HTTP/1.1\r\nHost: 203.0.113.7:41234\r\n\r\n")); err != nil {
		return err
	}
	return c.answer()
}

// exchange sends a request and reads the whole answer.
func (c *client) exchange(line string) error {
	if err := c.send(line); err != nil {
		return err
	}
	return c.answer()
}

// answer reads a whole answer.
func (c *client) answer() error {
	have := 0
	for {
		if have == len(c.in) {
			return errors.New("the answer is too large")
		}
		n, err := c.Read(c.in[have:])
		have += n
		if err != nil {
			return err
		}
		if end := bytes.Index(c.in[:have], []byte("\r\n\r\n")); end >= 0 {
			head, body := c.in[:end+4], c.in[end+4:have]
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("answered %q", c.in[:have])
			}
			length := contentLength(head)
			if length < 0 && bytes.HasSuffix(body, []byte("0\r\n\r\n")) || length >= 0 && len(body) >= length {
				return nil
			}
		}
	}
}

// A stream is an event stream that is being read.
type stream struct{ lines *bufio.Scanner }

// open reads the head of the answer to a request that was sent. first is when its
// first byte arrived.
func (c *client) open() (s *stream, first int64, err error) {
	r := bufio.NewReaderSize(c.Conn, 1<<10)
	if _, err := r.Peek(1); err != nil {
		return nil, 0, err
	}
	first = now()
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		head = append(head, line...)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return nil, 0, fmt.Errorf("answered %q", head)
	}
	var body io.Reader = r
	if contentLength(head) < 0 {
		body = httputil.NewChunkedReader(r)
	}
	s = &stream{lines: bufio.NewScanner(body)}
	s.lines.Buffer(make([]byte, 256), 4<<10)
	return s, first, nil
}

// next waits for an event and returns how long it was on its way.
func (s *stream) next() (delay int64, err error) {
	for s.lines.Scan() {
		if text, ok := bytes.CutPrefix(s.lines.Bytes(), []byte("data: ")); ok {
			sent, err := strconv.ParseInt(string(text), 10, 64)
			return now() - sent, err
		}
	}
	if s.lines.Err() != nil {
		return 0, s.lines.Err()
	}
	return 0, io.EOF
}
