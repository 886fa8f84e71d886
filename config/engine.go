package config

import (
	"fmt"
	"strings"

	"github.com/usher-sidecar/usher/config/preset"
	"github.com/usher-sidecar/usher/dialect"
)

// readEngine reads which model server this is, and takes from its preset whatever is
// not set.
func readEngine(l *loader) {
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

// Engine returns the name of the model server; "" if it is not known.
func (c *Config) Engine() string {
	if c.Preset == nil {
		return ""
	}
	return c.Preset.Name
}

// Dialect returns the engine whose members of a request state work.
func (c *Config) Dialect() dialect.Engine {
	if c.Preset == nil {
		return dialect.AnyEngine
	}
	return c.Preset.Engine
}

// readConcurrency reads how many requests may be at the model server at once.
func readConcurrency(l *loader) {
	c, text := l.cfg, &l.text.MaxConcurrency
	tells := c.Preset != nil && c.Preset.Tells()
	if l.vars["USHER_MAX_CONCURRENCY"] == "" && tells {
		*text = "auto"
	}
	switch auto := strings.EqualFold(*text, "auto"); {
	case auto && tells:
		c.AutoConcurrency, c.MaxConcurrency = true, preset.MaxSlots
	case auto: // no load is reported
		c.MaxConcurrency = preset.DefaultSlots
	default:
		c.MaxConcurrency = int(l.integer("USHER_MAX_CONCURRENCY", *text, 0, mostQueue))
	}
}

// FirstSlots returns how many requests may be at the model server at once before it
// has reported its load; 0 means no limit.
func (c *Config) FirstSlots() int {
	if c.AutoConcurrency {
		return preset.StartSlots
	}
	return c.MaxConcurrency
}

// engineWarnings warns about settings that the engine does not support.
func engineWarnings(l *loader) (list []string) {
	if strings.EqualFold(l.text.MaxConcurrency, "auto") && !l.cfg.AutoConcurrency {
		list = append(list, fmt.Sprintf("USHER_MAX_CONCURRENCY is auto, but USHER_ENGINE names no engine that reports its load: %d is used", l.cfg.MaxConcurrency))
	}
	return list
}
