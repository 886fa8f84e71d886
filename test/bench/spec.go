package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A spec tells the load generator what to do.
type spec struct {
	Addr    string
	Path    string // the request target
	Tickets string // file of signed requests
	First   int    // index of the first ticket to use
	Warm    int    // requests before the measured ones
	Count   int    // measured requests or streams
	Prompt  int    // bytes of the prompt
	Token   bool   // send the token in the head as well
	Conns   int
	Greet   bool // ask for /ping on each connection before warming up
	Sources int  // client addresses, 127.0.0.1 and up; 0: one

	Rate   float64       // requests a second at fixed times; 0: each as soon as an earlier one is answered
	Apart  time.Duration // streams: time between two starts
	Events int           // streams: events of each
	Hold   bool          // streams: keep them open until told to end

	Secure     bool    // over TLS 1.3
	Handshakes bool    // only make Count connections
	Resume     bool    // handshakes: resume sessions
	Hybrid     bool    // key exchange with X25519MLKEM768
	Flood      float64 // only make this many handshakes a second that come to nothing, until told to stop
}

// A report is what the load generator found; times in nanoseconds.
type report struct {
	Took     int64
	Latency  []int64 // of each request; with a rate, from its scheduled start
	First    []int64 // streams: from the request to the first byte
	Delays   []int64 // streams: of each event, from its sending to its receipt
	Bytes    int64   // streams over TLS: received, with record framing
	Records  int64   // streams over TLS: records received
	Flooded  int64   // handshakes begun that come to nothing
	Failures []string
}

// A load is a load generator that is ready to begin.
type load struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newLoad starts a load generator and waits until it has connected and warmed up.
func (b *bench) newLoad(s spec) (*load, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.Tickets = b.tickets
	l := &load{cmd: exec.Command(self, "load")}
	l.cmd.Stderr = os.Stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.out = bufio.NewReaderSize(out, 1<<20)
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(l.in).Encode(s); err != nil {
		return nil, errors.Join(err, l.end())
	}
	if line, err := l.out.ReadString('\n'); line != "ready\n" {
		return nil, errors.Join(err, fmt.Errorf("the load generator said %q", line), l.end())
	}
	return l, nil
}

// run makes it begin and waits for its report.
func (l *load) run() (report, error) {
	if err := l.begin(); err != nil {
		return report{}, err
	}
	return l.report()
}

func (l *load) begin() error {
	_, err := io.WriteString(l.in, "go\n")
	return err
}

// report waits for the report.
func (l *load) report() (report, error) {
	var r report
	if err := json.NewDecoder(l.out).Decode(&r); err != nil {
		return r, err
	}
	if n := len(r.Failures); n > 0 {
		return r, fmt.Errorf("%d requests failed, for example: %s", n, strings.Join(r.Failures[:min(n, 3)], "; "))
	}
	return r, nil
}

// end ends the load generator.
func (l *load) end() error {
	_ = l.in.Close()
	return l.cmd.Wait()
}
