package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/usher-sidecar/usher/config"
)

// writeManual writes the manual page usher(1). Its commands come from the usage text and
// its settings from their table, so that neither is written twice.
func writeManual(w io.Writer) error {
	title, commands, _ := strings.Cut(usage, "\n\n")
	name, what, _ := strings.Cut(title, ": ")
	var b strings.Builder
	fmt.Fprintf(&b, ".TH USHER 1 \"\" \"%s %s\"\n.SH NAME\n%s \\- %s\n", name, roff(version().Number), name, roff(what))
	b.WriteString(".SH SYNOPSIS\n.B usher\n[command]\n.SH COMMANDS\n.nf\n")
	for line := range strings.Lines(commands) {
		b.WriteString(roff(strings.TrimPrefix(line, "  ")))
	}
	b.WriteString(".fi\n.SH ENVIRONMENT\nA variable that is set but empty counts as unset.\n")
	for _, s := range config.Settings() {
		fmt.Fprintf(&b, ".TP\n.BR %s \" (%s)\"\n%s\n", s.Name, quoted(s.Default), roff(s.Doc))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range []struct {
		status int
		what   string
	}{
		{exitOK, "Success: drained, healthy, or the ticket would pass."},
		{exitFailed, "It could not listen, requests were cut at the end of a drain, it is not healthy, or the ticket would be refused."},
		{exitFault, "A setting or the command line is wrong, or the state file cannot be used. All faults are named."},
	} {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", s.status, s.what)
	}
	b.WriteString(".SH SIGNALS\nSIGTERM and SIGINT start a drain; a second one cuts what is left. SIGHUP reloads the key file and the certificate.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// roff escapes text, so that it is not read as a request or an escape sequence.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}

// quoted is roff inside a macro's quoted argument.
func quoted(text string) string { return strings.ReplaceAll(roff(text), `"`, `""`) }
