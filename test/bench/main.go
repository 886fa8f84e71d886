// Bench compares Usher with what a user would otherwise run: nginx as a plain proxy,
// HAProxy verifying an RS256 token, and a worker proxy in Python, all in front of one
// stub model server on loopback.
//
//	go run ./test/bench              all phases, 5 interleaved rounds
//	go run ./test/bench -quick       a smoke run: it shows only that everything works
//	go run ./test/bench -only small  one phase
//	go run ./test/bench -write       updates the tables and docs/performance*.tsv
//	go run ./test/bench -soak 1h     no phases: whether Usher stays as it was under a steady load
//
// It runs from the repository's root on Debian. As root it installs whichever of
// nginx-light, haproxy, python3-aiohttp and python3-pycryptodome are missing.
//
// Compare only figures of one run: its rounds are interleaved, so that whatever else
// the machine does affects all targets alike. Load, model server and proxies are
// separate processes; the CPU counted is the proxy's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// phases are in the order in which they run.
var phases = []struct {
	name string
	run  func(*bench) error
}{
	{"small", (*bench).small},
	{"large", (*bench).large},
	{"open", (*bench).open},
	{"streams", (*bench).streams},
	{"steady", (*bench).steady},
	{"many", (*bench).many},
	{"opening", (*bench).opening},
	{"memory", (*bench).memory},
	{"tls", (*bench).tls},
	{"flood", (*bench).flood},
	{"parts", (*bench).parts},
	{"growth", (*bench).growth},
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "model": // the stub model server
			fail(serveModel(os.Args[2]))
			return
		case "load": // the load generator, which reads what to do from standard input
			fail(runLoad(os.Stdin, os.Stdout))
			return
		}
	}
	fail(run())
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A flagList is a flag that may be given several times.
type flagList []string

func (l *flagList) String() string     { return strings.Join(*l, ",") }
func (l *flagList) Set(s string) error { *l = append(*l, s); return nil }

func run() (err error) {
	var also flagList
	only := flag.String("only", "", "phases, separated by commas; all by default: "+strings.Join(phaseNames(), ","))
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	quick := flag.Bool("quick", false, "a smoke run: one short round")
	targets := flag.String("targets", "", "what to measure, separated by commas: direct,nginx,haproxy,usher,python; all by default")
	write := flag.Bool("write", false, "write the tables into docs/performance.md and the figures into docs/performance.tsv")
	profile := flag.String("profile", "", "write CPU and allocation profiles of Usher into this folder")
	soak := flag.Duration("soak", 0, "instead of the phases drive Usher for so long, two minutes or more; with -write the outcome goes into docs/reliability.md and docs/soak.tsv")
	flag.Var(&also, "also", "name=path of a further Usher binary to measure beside this one; may be repeated")
	flag.Parse()
	if *soak > 0 {
		*targets = "usher"
	}
	b, err := newBench(*quick, *rounds, split(*targets), also)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	go b.closeOnSignal()
	b.profile = *profile
	if *soak > 0 {
		return b.soak(max(*soak, 2*time.Minute), *write)
	}
	for _, name := range split(*only) {
		if !slices.Contains(phaseNames(), name) {
			return fmt.Errorf("no phase %q", name)
		}
	}
	for _, phase := range phases {
		if *only != "" && !slices.Contains(split(*only), phase.name) {
			continue
		}
		if ferr := phase.run(b); ferr != nil {
			// The other phases measure for minutes: do not lose their figures.
			err = errors.Join(err, fmt.Errorf("%s: %w", phase.name, ferr))
			continue
		}
		b.progress("%s: done", phase.name)
	}
	fmt.Println(b.results.markdown())
	if *write && err == nil {
		return b.results.writeDocs()
	}
	return err
}

// closeOnSignal ends the processes under measurement when bench is interrupted.
func (b *bench) closeOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	_ = b.close()
	os.Exit(1)
}

func phaseNames() (names []string) {
	for _, p := range phases {
		names = append(names, p.name)
	}
	return names
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
