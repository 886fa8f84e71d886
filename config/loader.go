package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A loader turns text into settings and gathers the faults. Its methods read what
// many settings have in common; each section of the settings is read by a function of
// its own.
type loader struct {
	vars    map[string]string
	links   []string // variables of Kubernetes' that were removed from vars
	text    settings
	memory  int64 // the limit, in bytes; 0: not known
	cfg     *Config
	faults  Faults
	mistook map[string]bool // variables whose further faults are not reported
}

// fault records a fault, once.
func (l *loader) fault(variable, format string, args ...any) {
	if l.mistook[variable] {
		return
	}
	f := Fault{variable, fmt.Sprintf(format, args...)}
	if !slices.Contains(l.faults, f) {
		l.faults = append(l.faults, f)
	}
}

// faulty reports whether a fault of a variable was recorded.
func (l *loader) faulty(variable string) bool {
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Variable == variable })
}

// duration reads a duration of no less than least.
func (l *loader) duration(variable, text string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		l.fault(variable, "%q is not a duration; write it like 250ms or 5m", text)
		return least
	}
	if d < least {
		l.fault(variable, "%s is too short; it must be at least %s", text, least)
		return least
	}
	return d
}

// integer reads plain decimal digits within a range.
func (l *loader) integer(variable, text string, least, most int64) int64 {
	n, ok := whole(text)
	if !ok || n < least || n > most {
		l.fault(variable, "%q is not a whole number from %d to %d", text, least, most)
		return least
	}
	return n
}

// byteUnits are the binary units of IEC 80000-13.
var byteUnits = []string{"KiB", "MiB", "GiB", "TiB"}

// bytes reads a number of bytes within a range, with or without a unit.
func (l *loader) bytes(variable, text string, least, most int64) int64 {
	digits, factor := text, int64(1)
	for i, unit := range byteUnits {
		if number, ok := strings.CutSuffix(text, unit); ok {
			digits, factor = number, 1<<(10*(i+1))
		}
	}
	n, ok := whole(digits)
	if !ok || n > most/factor || n*factor < least {
		l.fault(variable, "%q is not a number of bytes from %d to %d; write it like 16777216, 16MiB or 1GiB", text, least, most)
		return least
	}
	return n * factor
}

// whole reads plain decimal digits.
func whole(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63) // without a sign
	return int64(n), err == nil
}

// choice reads one of a few words, ignoring case.
func (l *loader) choice(variable, text string, words ...string) string {
	word := strings.ToLower(text)
	if !slices.Contains(words, word) {
		l.fault(variable, "%q is not one of %s", text, strings.Join(words, ", "))
		return words[0]
	}
	return word
}

// list splits a comma-separated list. Items are trimmed, and empty ones left out.
func list(text string) []string {
	var items []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// escapedList is list, but \, stands for a comma inside an item.
func escapedList(text string) []string {
	const held = "\x00"
	items := list(strings.ReplaceAll(text, `\,`, held))
	for i := range items {
		items[i] = strings.ReplaceAll(items[i], held, ",")
	}
	return items
}

// address reads host:port; the port may be 0.
func (l *loader) address(variable, text string) string {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		l.fault(variable, "%q is not an address like :3000 or 127.0.0.1:3000", text)
		return ":0"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		l.fault(variable, "%q has no port from 0 to 65535", text)
		return ":0"
	}
	return text
}

// place reads the path of a file. It must be a regular one, or not exist yet in a
// directory that does. Whoever opens the file checks its content.
func (l *loader) place(variable, path string) string {
	if path == "" {
		return ""
	}
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		l.fault(variable, "%s is not a regular file", path)
	case errors.Is(err, fs.ErrNotExist):
		if folder, err := os.Stat(filepath.Dir(path)); err != nil || !folder.IsDir() {
			l.fault(variable, "the directory of %s does not exist: create %s first", path, filepath.Dir(path))
		}
	case err != nil:
		l.fault(variable, "cannot be used: %s", err)
	}
	return path
}

// webURL reads an absolute http or https address without user, query, fragment.
func webURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("%q is not an address like http://203.0.113.7:3000", text)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, fmt.Errorf("%q must not have a user, query or fragment", text)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q has no port from 1 to 65535", text)
		}
	}
	return u, nil
}
