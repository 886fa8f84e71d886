package config

import (
	"fmt"
	"strings"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/preset"
)

// engine reads which model server stands behind, and takes from its preset what
// no variable of its own says.
func (l *loader) engine() {
	if l.text.Engine == "" {
		return
	}
	p := preset.Of(l.choice("USHER_ENGINE", l.text.Engine, preset.Names()...))
	l.cfg.Preset, l.text.Engine = p, p.Name
	for _, s := range []struct {
		variable string
		text     *string
		preset   string
	}{
		{"USHER_UPSTREAM_URL", &l.text.UpstreamURL, fmt.Sprintf("http://127.0.0.1:%d", p.Port)},
		{"USHER_ROUTES", &l.text.Routes, strings.Join(p.Routes, ",")},
		{"USHER_OPEN_ROUTES", &l.text.OpenRoutes, strings.Join(p.OpenRoutes, ",")},
	} {
		if l.vars[s.variable] == "" {
			*s.text = s.preset
		}
	}
}

// Engine is the name of the model server; "": it is not known which.
func (c *Config) Engine() string {
	if c.Preset == nil {
		return ""
	}
	return c.Preset.Name
}

// Dialect is the engine whose members of a request count.
func (c *Config) Dialect() dialect.Engine {
	if c.Preset == nil {
		return dialect.AnyEngine
	}
	return c.Preset.Engine
}
