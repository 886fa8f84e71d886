package loop

import "time"

// alarmed does what the alarm was set for, and sets the next one.
func (l *Loop) alarmed() {
	if now := time.Now(); l.roster.sweepIsDue(now) {
		for _, m := range l.roster.silent(now.Sub(l.epoch) - l.silence) {
			l.tell(m, Silent, now)
		}
	}
	l.others()
	l.roster.nextAlarm()
}
