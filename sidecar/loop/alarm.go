package loop

import "time"

// setAlarm has the goroutine woken in time: at once if a stream was posted. mu is held,
// so that a later time cannot replace an earlier one that has not been served.
func (l *Loop) setAlarm() {
	if len(l.posted) > 0 {
		l.poller.alarm(l.epoch)
	} else {
		l.poller.alarm(l.sweepAt)
	}
}

// alarmed does what the alarm was set for, and sets the next one.
func (l *Loop) alarmed() {
	now := time.Now()
	l.mu.Lock()
	sweeps := !l.sweepAt.IsZero() && !now.Before(l.sweepAt)
	if sweeps {
		l.sweepAt = time.Time{}
		if len(l.members) > 0 {
			l.sweepAt = now.Add(l.silence / sweepsPerSilence)
		}
	}
	l.mu.Unlock()
	if sweeps {
		l.sweep(now)
	}
	l.others()
	l.mu.Lock()
	l.setAlarm()
	l.mu.Unlock()
}

// sweep tells the streams that are silent.
func (l *Loop) sweep(now time.Time) {
	since := now.Sub(l.epoch) - l.silence
	var silent []*Member
	l.mu.Lock()
	for _, m := range l.members {
		if !m.full && m.last <= since {
			silent = append(silent, m)
		}
	}
	l.mu.Unlock()
	for _, m := range silent {
		l.tell(m, Silent, now)
	}
}
