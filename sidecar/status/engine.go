package status

import "fmt"

// Engine is the model server's own figures about its load.
type Engine struct {
	Name    string   `json:"name"`
	Known   bool     `json:"known"` // the figures could be read at the last probe
	Running int      `json:"running"`
	Waiting int      `json:"waiting"`
	Cache   *float64 `json:"cache,omitempty"` // share in use
	Orphans int      `json:"orphans"`         // requests it has had for over ten seconds beyond those that were sent
	Fault   string   `json:"fault"`           // why the figures cannot be read; "": they can, or there are none
	Slots   string   `json:"slots"`           // the reason for the current number of slots; "": it is a setting
}

// Load returns the figures in words.
func (e *Engine) Load() string {
	if !e.Known {
		return either(e.Fault, "it reports no figures")
	}
	text := fmt.Sprintf("%d running, %d waiting", e.Running, e.Waiting)
	if e.Cache != nil {
		text += fmt.Sprintf(", %.0f %% of its cache in use", 100**e.Cache)
	}
	if e.Orphans > 0 {
		text += fmt.Sprintf(", %d that no client of Usher is waiting for", e.Orphans)
	}
	return text
}

// orphaned returns the sentence about orphans; "" if there are none.
func (s *Snapshot) orphaned() string {
	if s.Engine == nil || s.Engine.Orphans == 0 {
		return ""
	}
	n, what := s.Engine.Orphans, "requests that no client of Usher is waiting for: either it did not notice that they were cancelled, or something else sends it requests"
	if n == 1 {
		what = "request that no client of Usher is waiting for: either it did not notice that it was cancelled, or something else sends it requests"
	}
	return fmt.Sprintf("The model server is running %d %s.", n, what)
}
