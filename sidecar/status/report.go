package status

import (
	"fmt"
	"time"
)

// A Report is what the autoscaler was told last, in words, and how far the
// benchmark is.
type Report struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"` // when the last one was acknowledged, or that there are none
	Said string `json:"said"` // what it said; "": nothing yet
}

// Reported says when a report was acknowledged last: silent ago, since the start
// if never.
func Reported(acknowledged bool, silent time.Duration) string {
	if !acknowledged {
		return "none acknowledged since the start, " + age(silent.Seconds()) + " ago"
	}
	return fmt.Sprintf("acknowledged %s ago", age(silent.Seconds()))
}
