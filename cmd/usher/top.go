package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar/status"
)

const (
	// topInterval is the time between two snapshots.
	topInterval = time.Second
	// topTimeout bounds fetching one snapshot.
	topTimeout = 3 * time.Second
	// maxStatus is how many bytes of an answer are read.
	maxStatus = 4 << 20
)

const topUsage = `usage: usher top [-once] [address]

  Shows the status page in a terminal. The address is that of the admin listener
  (host:port or a URL); the default is USHER_ADMIN_ADDR.

  -once   print it once and exit; exit status 1 if it cannot be fetched

  Keys: up, down, page up, page down scroll; q quits. If the terminal cannot move
  the cursor (TERM=dumb), or the output is a file or a pipe, it prints one text
  after another.
`

// top shows the state of a running usher.
func top(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("top", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	once := flags.Bool("once", false, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, topUsage)
		return exitOK
	}
	if err != nil || flags.NArg() > 1 {
		_, _ = io.WriteString(stderr, topUsage)
		return exitFault
	}
	address, err := topAddress(flags.Arg(0), environ)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher top: %v\n", err)
		return exitFault
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l := &look{url: address + "/status.json", client: http.Client{Timeout: topTimeout}}
	defer l.client.CloseIdleConnections()
	switch screen, isFile := stdout.(*os.File); {
	case *once:
		return l.once(ctx, stdout, stderr)
	case !isFile || !term.IsTerminal(screen.Fd()) || dumb(environ):
		return l.follow(ctx, stdout, stderr)
	default:
		return l.show(ctx, environ, stdin, stdout, stderr)
	}
}

// topAddress returns the admin listener's URL, without a trailing slash.
func topAddress(argument string, environ []string) (string, error) {
	if strings.HasPrefix(argument, "http://") || strings.HasPrefix(argument, "https://") {
		return strings.TrimRight(argument, "/"), nil
	}
	if argument == "" {
		var err error
		if argument, err = config.AdminAddr(environ); err != nil {
			return "", err
		}
	}
	return "http://" + reachable(argument), nil
}

// dumb reports whether the terminal cannot move its cursor.
func dumb(environ []string) bool {
	name := ""
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, "TERM="); ok {
			name = value
		}
	}
	return name == "" || name == "dumb"
}

// A look fetches snapshots.
type look struct {
	url    string
	client http.Client
}

func (l *look) fetch(ctx context.Context) (*status.Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", l.url, resp.Status)
	}
	s := new(status.Snapshot)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(s); err != nil {
		return nil, fmt.Errorf("%s did not answer as usher does: %w", l.url, err)
	}
	return s, nil
}

// once prints a single snapshot.
func (l *look) once(ctx context.Context, stdout, stderr io.Writer) int {
	s, err := l.fetch(ctx)
	if err == nil {
		_, err = io.WriteString(stdout, s.Text(status.Terminal{}))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "usher top: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// follow prints one snapshot after another until ctx ends or writing fails.
func (l *look) follow(ctx context.Context, stdout, stderr io.Writer) int {
	ticker := time.NewTicker(topInterval)
	defer ticker.Stop()
	for {
		s, err := l.fetch(ctx)
		if ctx.Err() != nil {
			return exitOK
		}
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "usher top: %v; trying again\n", err)
		} else if _, err := io.WriteString(stdout, s.Text(status.Terminal{})+"\n"); err != nil {
			return exitFailed
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return exitOK
		}
	}
}

// show uses the whole screen until q is pressed or ctx ends.
func (l *look) show(ctx context.Context, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := tea.NewProgram(&screen{look: l, ctx: ctx}, tea.WithContext(ctx), tea.WithEnvironment(environ),
		tea.WithInput(stdin), tea.WithOutput(stdout), tea.WithoutSignalHandler())
	if _, err := p.Run(); err != nil && ctx.Err() == nil {
		_, _ = fmt.Fprintf(stderr, "usher top: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// A screen is what the terminal shows.
type screen struct {
	look          *look
	ctx           context.Context
	snapshot      *status.Snapshot // the last one
	err           error            // from the last fetch
	width, height int
	down          int // lines scrolled down
}

// A sight is the result of one fetch.
type sight struct {
	snapshot *status.Snapshot
	err      error
}

// Init implements tea.Model.
func (m *screen) Init() tea.Cmd { return m.glance }

func (m *screen) glance() tea.Msg {
	s, err := m.look.fetch(m.ctx)
	return sight{s, err}
}

// Update implements tea.Model.
func (m *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case sight:
		if m.err = msg.err; msg.err == nil {
			m.snapshot = msg.snapshot
		}
		return m, tea.Tick(topInterval, func(time.Time) tea.Msg { return m.glance() })
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		page := max(1, m.height-3)
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		case "down", "j":
			m.down++
		case "up", "k":
			m.down--
		case "pgdown", "space":
			m.down += page
		case "pgup":
			m.down -= page
		case "home":
			m.down = 0
		}
	}
	return m, nil
}

// View implements tea.Model.
func (m *screen) View() tea.View {
	var lines []string
	if m.snapshot != nil {
		lines = strings.Split(strings.TrimRight(m.snapshot.Text(status.Terminal{Width: m.width, Color: true}), "\n"), "\n")
	}
	foot := "q quits, arrows scroll"
	if m.err != nil {
		foot = "NOT CONNECTED, trying again: " + m.err.Error()
	}
	if room := max(1, m.height-1); m.height > 0 {
		m.down = max(0, min(m.down, len(lines)-room))
		lines = lines[m.down:min(len(lines), m.down+room)]
	}
	v := tea.NewView(strings.Join(append(lines, foot), "\n"))
	v.AltScreen = true
	v.WindowTitle = "usher top"
	return v
}
