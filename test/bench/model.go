package main

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// serveModel runs the stub model server. It does as little as a server can, so that it
// uses little of the machine:
//
//	GET …                     200
//	POST /generate            200 and 200 bytes of JSON, at once
//	POST /generate_stream     a stream of ?tokens=N events, ?every=D apart
//
// Each event holds the time at which it was sent, in nanoseconds of the machine's
// monotonic clock.
func serveModel(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go modelConn(c)
	}
}

var modelAnswer = func() []byte {
	text := `{"generated_text":"` + string(bytes.Repeat([]byte("a"), 178)) + `"}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}()

func modelConn(c net.Conn) {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 64<<10)
	have := 0
	for {
		head := bytes.Index(buf[:have], []byte("\r\n\r\n"))
		if head < 0 {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			continue
		}
		head += 4
		left := contentLength(buf[:head]) - (have - head)
		target := string(requestTarget(buf[:head]))
		have = 0
		for left > 0 {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			left -= n
		}
		if !modelAnswers(c, target) {
			return
		}
	}
}

func modelAnswers(c net.Conn, target string) (goesOn bool) {
	path, query, _ := bytes.Cut([]byte(target), []byte("?"))
	if string(path) != "/generate_stream" {
		_, err := c.Write(modelAnswer)
		return err == nil
	}
	q, err := url.ParseQuery(string(query))
	if err != nil {
		return false
	}
	tokens, _ := strconv.Atoi(q.Get("tokens"))
	every, _ := time.ParseDuration(q.Get("every"))
	buf := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	next := time.Now()
	for i := range tokens {
		event := fmt.Appendf(nil, "data: %d\n\n", now())
		buf = fmt.Appendf(buf, "%x\r\n%s\r\n", len(event), event)
		if i == tokens-1 {
			buf = append(buf, "0\r\n\r\n"...)
		}
		if _, err := c.Write(buf); err != nil {
			return false
		}
		buf = buf[:0]
		next = next.Add(every)
		if i == tokens-1 {
			break
		}
		if every >= time.Minute { // a silent stream: wait until the other side closes it
			_, _ = c.Read(make([]byte, 1))
			return false
		}
		time.Sleep(time.Until(next))
	}
	return true
}

// now reads the clock that all processes of the machine share.
func now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

func requestTarget(head []byte) []byte {
	_, rest, _ := bytes.Cut(head, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	return target
}

// contentLength returns the length that a head states: 0 if it states none, -1 if the
// body is chunked.
func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
		case bytes.EqualFold(name, []byte("content-length")):
			n, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return -1
		}
	}
	return 0
}
