package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A goal is a bound for the ratio of Usher's figure to another target's.
type goal struct {
	what          string
	phase, metric string
	base          string
	baseMetric    string // of the other; "": the same
	bound         float64
	atLeast       bool
	absolute      bool // the figure itself, not a ratio
}

var goals = []goal{
	{what: "1 KB prompt: CPU a request ÷ HAProxy's", phase: "small", metric: "CPU µs a request", base: "HAProxy", bound: 1},
	{what: "1 KB prompt: CPU a request of Python ÷ Usher's", phase: "small", metric: "CPU µs a request", base: "Python", bound: 25, atLeast: true},
	{what: "256 KB prompt: CPU a request ÷ HAProxy's", phase: "large", metric: "CPU µs a request", base: "HAProxy", bound: 1.3},
	{what: "300 requests/s: p50 ÷ HAProxy's", phase: "open", metric: "p50 ms", base: "HAProxy", bound: 1},
	{what: "300 requests/s: p99 ÷ HAProxy's", phase: "open", metric: "p99 ms", base: "HAProxy", bound: 1},
	{what: "streams: CPU a token ÷ nginx'", phase: "streams", metric: "CPU µs a token", base: "nginx", bound: 0.95},
	{what: "streams: CPU a token ÷ HAProxy's", phase: "streams", metric: "CPU µs a token", base: "HAProxy", bound: 0.95},
	{what: "streams: delay a token p50 ÷ nginx'", phase: "streams", metric: "delay a token p50 ms", base: "nginx", bound: 1.05},
	{what: "streams: delay a token p99 ÷ nginx'", phase: "streams", metric: "delay a token p99 ms", base: "nginx", bound: 1.1},
	{what: "streams: first byte p50 ÷ HAProxy's", phase: "streams", metric: "first byte p50 ms", base: "HAProxy", bound: 1},
	{what: "streams: first byte p99 ÷ HAProxy's", phase: "streams", metric: "first byte p99 ms", base: "HAProxy", bound: 1},
	{what: "open streams: CPU a token ÷ nginx'", phase: "steady", metric: "CPU µs a token", base: "nginx", bound: 0.85},
	{what: "1,000 slow streams: CPU a token ÷ nginx'", phase: "many", metric: "CPU µs a token", base: "nginx", bound: 0.95},
	{what: "opening a stream: CPU ÷ nginx'", phase: "opening", metric: "CPU µs a stream", base: "nginx", bound: 1.5},
	{what: "memory a silent stream ÷ HAProxy's, 2,000", phase: "memory", metric: "resident KB a stream, 2000 streams", base: "HAProxy", bound: 1.1},
	{what: "memory a silent stream ÷ HAProxy's, 9,000", phase: "memory", metric: "resident KB a stream, 9000 streams", base: "HAProxy", bound: 1.1},
	{what: "full TLS handshake, P-256: CPU ÷ HAProxy's", phase: "tls", metric: "CPU µs of a full handshake, P-256", base: "HAProxy", bound: 0.9},
	{what: "full TLS handshake, P-256: CPU ÷ HAProxy's with RSA-2048", phase: "tls", metric: "CPU µs of a full handshake, P-256", base: "HAProxy", baseMetric: "CPU µs of a full handshake, RSA-2048", bound: 0.5},
	{what: "full TLS handshake, RSA-2048: CPU ÷ HAProxy's", phase: "tls", metric: "CPU µs of a full handshake, RSA-2048", base: "HAProxy", bound: 2},
	{what: "resumed TLS handshake: CPU ÷ HAProxy's", phase: "tls", metric: "CPU µs of a resumed handshake", base: "HAProxy", bound: 1.2},
	{what: "1 KB prompt over TLS: CPU a request ÷ HAProxy's", phase: "tls", metric: "1 KB prompt: CPU µs a request", base: "HAProxy", bound: 0.9},
	{what: "streams over TLS: CPU a token ÷ nginx'", phase: "tls", metric: "streams: CPU µs a token", base: "nginx", bound: 1.1},
	{what: "streams over TLS: records a token", phase: "tls", metric: "streams: records a token", bound: 1.05, absolute: true},
	{what: "memory a silent TLS stream ÷ nginx', 2,000", phase: "tls", metric: "resident KB a silent stream, 2000 streams", base: "nginx", bound: 1},
	{what: "streams beside 500 TLS handshakes/s, P-256: p99 ÷ alone", phase: "flood", metric: "p256: p99 beside the flood ÷ alone", bound: 1.2, absolute: true},
	{what: "streams beside 500 TLS handshakes/s, RSA-2048: p99 ÷ alone", phase: "flood", metric: "rsa: p99 beside the flood ÷ alone", bound: 1.2, absolute: true},
	{what: "the same ÷ beside another process' 500 handshakes/s, P-256", phase: "flood", metric: "p256: p99 beside the flood ÷ beside another's", bound: 1.2, absolute: true},
	{what: "the same ÷ beside another process' 500 handshakes/s, RSA-2048", phase: "flood", metric: "rsa: p99 beside the flood ÷ beside another's", bound: 1.2, absolute: true},
	{what: "verification: rate ÷ OpenSSL's", phase: "parts", metric: "verifications/s, one core", base: "OpenSSL", bound: 0.9, atLeast: true},
	{what: "ticket parser, GB/s", phase: "parts", metric: "ticket parser, GB/s of a 1 MB body", bound: 1, atLeast: true, absolute: true},
	{what: "start to ready, ms", phase: "parts", metric: "start to ready, ms", bound: 50, absolute: true},
	{what: "binary, MB", phase: "parts", metric: "binary MB", bound: 25, absolute: true},
}

// markdown returns all tables that there are figures for.
func (r *results) markdown() string {
	var b strings.Builder
	for _, section := range r.sections() {
		fmt.Fprintf(&b, "\n<!-- %s -->\n%s<!-- /%s -->\n", section.name, section.text, section.name)
	}
	return b.String()
}

type section struct{ name, text string }

// sections returns the tables, named after their places in docs/performance.md.
func (r *results) sections() (list []section) {
	for _, phase := range []string{"small", "large", "open", "streams", "steady", "many", "opening", "memory", "tls", "flood", "parts"} {
		if targets := r.targets(phase); len(targets) > 0 {
			list = append(list, section{phase, r.table(phase, targets)})
		}
	}
	if text := r.goalTable(); text != "" {
		list = append(list, section{"goals", text})
	}
	if len(list) > 0 {
		list = append(list, section{"machine", machine()})
	}
	return list
}

// table returns a table with a row for each metric of a phase and a column for each
// target.
func (r *results) table(phase string, targets []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---%s|\n", strings.Join(targets, " | "), strings.Repeat("|---", len(targets)))
	var done []string
	for _, k := range r.order {
		if k.phase != phase || slices.Contains(done, k.metric) {
			continue
		}
		done = append(done, k.metric)
		fmt.Fprintf(&b, "| %s |", k.metric)
		for _, t := range targets {
			cell := "–"
			if list := r.values[key{phase, t, k.metric, 0}]; len(list) > 0 {
				cell = spreadOf(list).String()
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
		if strings.HasSuffix(k.metric, " ms") && slices.Contains(targets, "direct") {
			r.addedRow(&b, phase, k.metric, targets)
		}
	}
	return b.String()
}

// addedRow writes what each proxy adds to a latency, round by round.
func (r *results) addedRow(b *strings.Builder, phase, metric string, targets []string) {
	fmt.Fprintf(b, "| – added over direct |")
	base := r.values[key{phase, "direct", metric, 0}]
	for _, t := range targets {
		var added []float64
		for i, v := range r.values[key{phase, t, metric, 0}] {
			if t != "direct" && i < len(base) {
				added = append(added, v-base[i])
			}
		}
		cell := "–"
		if len(added) > 0 {
			cell = figure(spreadOf(added).median)
		}
		fmt.Fprintf(b, " %s |", cell)
	}
	b.WriteString("\n")
}

// goalTable compares every Usher measured with the goals.
func (r *results) goalTable() string {
	var b strings.Builder
	for _, g := range goals {
		for _, t := range r.ushers(g.phase) {
			list := r.values[key{g.phase, t, g.metric, 0}]
			switch {
			case g.absolute:
			case g.atLeast && g.base == "Python":
				list = r.ratio(key{g.phase, g.base, g.metric, 0}, key{g.phase, t, g.metric, 0})
			default:
				list = r.ratio(key{g.phase, t, g.metric, 0}, key{g.phase, g.base, cmp.Or(g.baseMetric, g.metric), 0})
			}
			if len(list) == 0 {
				continue
			}
			s := spreadOf(list)
			sign, reached := "≤", s.median <= g.bound
			if g.atLeast {
				sign, reached = "≥", s.median >= g.bound
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s %g | %s |\n", g.what, t, s, sign, g.bound, map[bool]string{true: "yes", false: "no"}[reached])
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "| | | ratio within a round | goal | reached |\n|---|---|---|---|---|\n" + b.String()
}

// ushers returns the targets that are an Usher.
func (r *results) ushers(phase string) (names []string) {
	for _, t := range r.targets(phase) {
		if !slices.Contains([]string{"direct", "nginx", "HAProxy", "Python", "OpenSSL"}, t) {
			names = append(names, t)
		}
	}
	return names
}

// machine describes the machine that the figures come from.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(name, "model name") {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	return fmt.Sprintf("Measured %s at commit %s: %d cores of %s, %s; load average at the end %s.\n",
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), runtime.NumCPU(), model, runtime.Version(),
		strings.Join(strings.Fields(string(load))[:1], ""))
}

// writeDocs writes the tables to their places in docs/performance.md and the figures
// to docs/performance.tsv, which docs/plot draws from. Whatever was not measured in
// this run stays as it was.
func (r *results) writeDocs() error {
	const page, figures = "docs/performance.md", "docs/performance.tsv"
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for _, s := range r.sections() {
		open, end := "<!-- "+s.name+" -->\n", "<!-- /"+s.name+" -->"
		before, rest, ok := strings.Cut(string(text), open)
		old, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return fmt.Errorf("%s has no place for %s", page, s.name)
		}
		if s.name == "goals" {
			s.text += otherGoals(old, s.text)
		}
		text = []byte(before + open + s.text + end + after)
	}
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return err
	}
	old, err := os.ReadFile(figures)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(figures, []byte(r.merged(string(old))), 0o644)
}

// otherGoals returns the rows of the old table that this run has no figures for.
func otherGoals(old, text string) string {
	var rows strings.Builder
	for line := range strings.Lines(old) {
		if what, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && what != "" && !strings.Contains(text, "| "+what+" | ") {
			rows.WriteString(line)
		}
	}
	return rows.String()
}

// merged returns the figures of this run, and the old lines of all other phases.
func (r *results) merged(old string) string {
	var b strings.Builder
	b.WriteString(r.tsv())
	for line := range strings.Lines(old) {
		phase, _, _ := strings.Cut(line, "\t")
		if phase != "phase" && len(r.targets(phase)) == 0 {
			b.WriteString(line)
		}
	}
	return b.String()
}
