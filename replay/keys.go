package replay

import "slices"

// Rotate gives each of the keys a window, the first of them being the current
// one: the window it had, if that is still kept, or a new one. A new one takes a
// free place, or that of the oldest window that belongs to none of the keys.
// Keys beyond Config.Keys get none.
func (l *Ledger) Rotate(keys ...Fingerprint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys = keys[:min(len(keys), len(l.windows))]
	for i, key := range keys {
		at := l.indexOf(key)
		if at < 0 {
			at = l.vacant(keys)
			l.renew(at, key)
		}
		if i > 0 {
			continue
		}
		if at != l.current {
			l.current = at
			if l.image != nil {
				l.image.setCurrent(at)
				l.file.put(currentAt, l.image[currentAt:currentAt+1])
			}
		}
		if !slices.ContainsFunc(keys, l.windows[l.latest].is) {
			l.latest = at
		}
	}
}

// vacant is the place for one more window: one that none has, or the first after
// the current one that no key of these has.
func (l *Ledger) vacant(keys []Fingerprint) int {
	if at := slices.IndexFunc(l.windows, func(w *window) bool { return !w.valid() }); at >= 0 {
		return at
	}
	at := l.current
	for range l.windows {
		at = (at + 1) % len(l.windows)
		if !slices.ContainsFunc(keys, l.windows[at].is) {
			return at
		}
	}
	return at // not reached: there is a place for each of the keys
}

// renew begins a window of key in a place.
func (l *Ledger) renew(at int, key Fingerprint) {
	if l.windows[at] == nil {
		words := make([]uint64, slotWords+ringBlocks(l.cfg.Window))
		blank(words)
		l.windows[at] = mapWindow(l.cfg, words)
	}
	l.windows[at] = l.windows[at].renew(key)
}

// indexOf is where a key's window is, or -1.
func (l *Ledger) indexOf(key Fingerprint) int {
	if l.windows[l.latest].is(key) {
		return l.latest
	}
	return slices.IndexFunc(l.windows, func(w *window) bool { return w.is(key) })
}

// find returns the window of a key, or nil.
func (l *Ledger) find(key Fingerprint) *window {
	if at := l.indexOf(key); at >= 0 {
		return l.windows[at]
	}
	return nil
}
