package status

import "fmt"

// Engine is what the model server tells of its load.
type Engine struct {
	Name    string   `json:"name"`
	Known   bool     `json:"known"` // the figures could be read at the last probe
	Running int      `json:"running"`
	Waiting int      `json:"waiting"`
	Cache   *float64 `json:"cache,omitempty"` // share in use
	Orphans int      `json:"orphans"`         // held there for over ten seconds beyond what was sent
	Fault   string   `json:"fault"`           // why the figures cannot be read; "": they can, or there are none
	Slots   string   `json:"slots"`           // why there are as many slots as there are; "": they are set
}

// Load is the figures in words.
func (e *Engine) Load() string {
	if !e.Known {
		return either(e.Fault, "it has no figures")
	}
	text := fmt.Sprintf("%d running, %d waiting", e.Running, e.Waiting)
	if e.Cache != nil {
		text += fmt.Sprintf(", %.0f %% of its cache in use", 100**e.Cache)
	}
	if e.Orphans > 0 {
		text += fmt.Sprintf(", %d that nobody here waits for", e.Orphans)
	}
	return text
}

// orphaned is the sentence on requests that nobody waits for; "": there are none.
func (s *Snapshot) orphaned() string {
	if s.Engine == nil || s.Engine.Orphans == 0 {
		return ""
	}
	n, what := s.Engine.Orphans, "requests that nobody here waits for: cancelled ones that it did not notice, or somebody goes around Usher"
	if n == 1 {
		what = "request that nobody here waits for: a cancelled one that it did not notice, or somebody goes around Usher"
	}
	return fmt.Sprintf("The model server runs %d %s.", n, what)
}
