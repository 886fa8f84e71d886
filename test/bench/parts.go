package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/envelope"
)

// parts measures single parts of Usher, in this process or by starting Usher.
func (b *bench) parts() error {
	for range b.rounds {
		for _, part := range []func() error{b.verification, b.parser, b.startup} {
			if err := part(); err != nil {
				return err
			}
		}
	}
	info, err := os.Stat(b.path("usher"))
	if err != nil {
		return err
	}
	b.results.add("parts", "Usher", "binary MB", 0, float64(info.Size())/1e6)
	return nil
}

// partTime is how long each part is repeated.
func (b *bench) partTime() time.Duration { return time.Duration(b.scaled(1000)) * time.Millisecond }

// repeat calls once repeatedly and returns the CPU time of each call, garbage
// collection included. OpenSSL counts CPU time too.
func (b *bench) repeat(once func() error) (each time.Duration, err error) {
	n, began := 0, cpuTime()
	for ; cpuTime()-began < b.partTime(); n++ {
		if err := once(); err != nil {
			return 0, err
		}
	}
	return (cpuTime() - began) / time.Duration(n), nil
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// verification compares a whole check of a ticket's signature, including decoding,
// message and hash, with OpenSSL's bare RSA-2048 operation.
func (b *bench) verification() error {
	tickets, err := b.firstTickets(100)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(b.key)
	if err != nil {
		return err
	}
	bundle, err := crypto.ParsePublicKeys(text)
	if err != nil {
		return err
	}
	schema, err := crypto.ParseSchema("auto")
	if err != nil {
		return err
	}
	keys := crypto.NewKeySet(schema, 0)
	keys.Install(bundle, time.Now())
	var envelopes []envelope.Envelope
	for _, t := range tickets {
		e, err := envelope.Parse([]byte(t), envelope.Options{})
		if err != nil {
			return err
		}
		envelopes = append(envelopes, e)
	}
	i := 0
	each, err := b.repeat(func() error {
		t := &envelopes[i%len(envelopes)].Ticket
		i++
		_, err := keys.Verify(&t.Message, t.Signature, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	b.results.add("parts", "Usher", "verifications/s, one core", 0, 1/each.Seconds())
	theirs, err := b.opensslVerify()
	if err != nil {
		return err
	}
	b.results.add("parts", "OpenSSL", "verifications/s, one core", 0, theirs)
	return nil
}

var verifyRate = regexp.MustCompile(`rsa 2048 bits\s+\S+s\s+\S+s\s+\S+\s+(\S+)`)

func (b *bench) opensslVerify() (float64, error) {
	seconds := max(int(b.partTime()/time.Second), 1)
	out, err := exec.Command("openssl", "speed", "-seconds", fmt.Sprint(seconds), "rsa2048").Output()
	if err != nil {
		return 0, fmt.Errorf("openssl speed: %w", err)
	}
	m := verifyRate.FindSubmatch(out)
	if m == nil {
		return 0, errors.New("openssl speed: its output has no rate")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// parser measures reading a ticket out of a body of 1 MB.
func (b *bench) parser() error {
	tickets, err := b.firstTickets(1)
	if err != nil {
		return err
	}
	sent := fmt.Appendf(nil, `%s, "inputs": "%s"}`, strings.TrimSuffix(tickets[0], "}"), prompt(1<<20))
	body := make([]byte, len(sent))
	each, err := b.repeat(func() error {
		copy(body, sent) // Parse changes the body
		_, err := envelope.Parse(body, envelope.Options{})
		return err
	})
	if err != nil {
		return err
	}
	b.results.add("parts", "Usher", "ticket parser, GB/s of a 1 MB body", 0, float64(len(body))/1e9/each.Seconds())
	return nil
}

// firstTickets returns the JSON of the first n tickets.
func (b *bench) firstTickets(n int) (list []string, err error) {
	file, err := os.ReadFile(b.tickets)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 64<<10)
	for len(list) < n && lines.Scan() {
		ticket, _, _ := strings.Cut(lines.Text(), "\t")
		list = append(list, ticket)
	}
	return list, lines.Err()
}

// startup measures the time from the start of the process until it says that it is
// ready, asking every millisecond.
func (b *bench) startup() error {
	for _, t := range b.targets {
		if t.kind != usher && t.kind != haproxy && t.kind != nginx {
			continue
		}
		_, p, err := b.launch(t, options{})
		if err != nil {
			return err
		}
		b.results.add("parts", t.name, "start to ready, ms", 0, float64(p.took.Microseconds())/1000)
		p.stop()
	}
	return nil
}
