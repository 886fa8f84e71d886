package status

import (
	"fmt"
	"time"
)

// A Report describes the last report to the autoscaler, or the progress of the
// benchmark, in words.
type Report struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"` // when the last report was acknowledged, or why there are none
	Said string `json:"said"` // what the last report said; "": nothing yet
}

// Reported says when a report was last acknowledged. silent is how long ago that was,
// or the time since the start if none was.
func Reported(acknowledged bool, silent time.Duration) string {
	if !acknowledged {
		return "none acknowledged since the start, " + age(silent.Seconds()) + " ago"
	}
	return fmt.Sprintf("acknowledged %s ago", age(silent.Seconds()))
}
