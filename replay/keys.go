package replay

import "slices"

// Rotate gives each of the keys a window: the one it had, if that is still kept, or
// a new one. The first key is the current one. A new window takes a free place, or
// the place of the oldest window that belongs to none of the keys. Keys beyond
// Config.Keys get none.
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

// vacant returns the place for one more window: one that is free, or the first one
// after the current window that none of the keys has.
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
	return at // not reached: there are at least as many places as keys
}

// renew starts an empty window for key in a place.
func (l *Ledger) renew(at int, key Fingerprint) {
	if l.windows[at] == nil {
		words := make([]uint64, slotWords+ringBlocks(l.cfg.Window))
		blank(words)
		l.windows[at] = mapWindow(l.cfg, words)
	}
	l.windows[at] = l.windows[at].renew(key)
}

// indexOf returns the place of a key's window, or -1.
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
