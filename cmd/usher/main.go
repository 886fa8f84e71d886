// Command usher runs in front of a model server and lets in only the requests that the
// autoscaler signed for this worker, each once, in approximately the order in which
// they were routed. It is configured by environment variables; docs/settings.md lists
// them.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar"
	"github.com/usher-sidecar/usher/sidecar/asynclog"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // could not listen, requests were cut, not healthy, ticket refused
	exitFault  = 2 // wrong settings or usage
)

const usage = `usher: a guard in front of a model server

  usher               serve; settings come from USHER_* environment variables
  usher top           show the status page in a terminal; see usher top -h
  usher healthcheck   exit 0 if this container's usher is ready, else 1
  usher drain         take this container's usher out of service, and return when
                      nothing is in flight; exit 1 if requests were cut
  usher verify        read a ticket, a request body or an Authorization line from
                      standard input and explain, check by check, whether it
                      would pass
  usher settings      list the settings with their defaults
  usher man           print the manual page: usher man | man -l -
  usher version       print version and commit
`

func main() {
	abortOnCrash()
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command = args[0]
	}
	switch {
	case command == "top": // it has arguments of its own
	case isHelp(command), len(args) == 2 && isHelp(args[1]):
		command = "help"
	case len(args) > 1:
		_, _ = fmt.Fprintf(stderr, "usher %s takes no arguments\n\n%s", command, usage)
		return exitFault
	}
	switch command {
	case "serve":
		return serve(environ, stderr)
	case "healthcheck":
		return healthcheck(environ, stderr)
	case "drain":
		return drain(environ, stderr)
	case "top":
		return top(args[1:], environ, stdin, stdout, stderr)
	case "verify":
		return verify(environ, stdin, stdout, stderr)
	case "settings":
		if err := config.WriteMarkdown(stdout); err != nil {
			return exitFailed
		}
		return exitOK
	case "man":
		if err := writeManual(stdout); err != nil {
			return exitFailed
		}
		return exitOK
	case "version", "-version", "--version":
		v := version()
		_, _ = fmt.Fprintf(stdout, "usher %s (commit %s, %s)\n", v.Number, v.Commit, v.Go)
		return exitOK
	case "help":
		_, _ = io.WriteString(stdout, usage)
		return exitOK
	}
	_, _ = fmt.Fprintf(stderr, "usher: no command %q\n\n%s", command, usage)
	return exitFault
}

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

// serve runs the sidecar until a signal, and maps how it ended to an exit status. From
// its first line on, nothing waits for a reader of stderr or dies because it has gone.
// The other commands end with SIGPIPE, as filters do.
func serve(environ []string, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE)
	// Caught while it starts too, and obeyed once that can be: a reload that is asked for
	// just then must not end the process.
	caught := catchSignals()
	lines := asynclog.New(stderr)
	go lines.Run()
	defer func() { _ = lines.Close() }() // there is nowhere to report its error
	room := limitMemory(memlimit.FromCgroup)
	cfg, err := config.LoadWithin(environ, room.limit)
	if err != nil {
		_, _ = fmt.Fprintf(lines, "usher: %v\n", err)
		return exitFault
	}
	log := newLogger(cfg, lines, wantsColour(stderr, environ))
	// For libraries that write to the standard logger, such as net/http.
	defer zap.RedirectStdLog(log)()
	room.tell(log, cfg)
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	s, err := sidecar.New(cfg, log, version())
	if err != nil {
		_, _ = fmt.Fprintf(lines, "usher: %v\n", err)
		return exitFault
	}
	if err := s.Listen(); err != nil {
		log.Error("cannot listen", zap.Error(err))
		return exitFailed
	}
	ctx, stop := caught.obey(s, log)
	defer stop()
	switch err := s.Run(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, sidecar.ErrCut):
		return exitFailed
	default:
		log.Error("stopped", zap.Error(err))
		return exitFailed
	}
}
