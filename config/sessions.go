package config

import "github.com/usher-sidecar/usher/config/route"

// SessionPaths are the paths that Usher answers itself if sessions are enabled.
var SessionPaths = []string{"/session/create", "/session/get", "/session/health", "/session/end"}

// mostSessions bounds USHER_MAX_SESSIONS.
const mostSessions = 1 << 20

// readSessions reads how many sessions there may be. The routes must have been read
// before.
func readSessions(l *loader) {
	l.cfg.MaxSessions = int(l.integer("USHER_MAX_SESSIONS", l.text.MaxSessions, 0, mostSessions))
	for _, path := range SessionPaths {
		if l.cfg.MaxSessions > 0 && route.Posts(l.cfg.Routes, path) {
			l.fault("USHER_ROUTES", "%s is reserved for sessions, since USHER_MAX_SESSIONS is set", path)
		}
	}
}
