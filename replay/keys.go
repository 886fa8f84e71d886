package replay

import "slices"

// Rotate gives each of the keys a window: the one it had, if that is still kept, or
// a new one. The first key is the current one. A new window takes a free place, or
// the place of the oldest window that belongs to none of the keys. Keys beyond
// Config.Keys get none.
func (l *Ledger) Rotate(keys ...Fingerprint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.windows
	keys = keys[:min(len(keys), len(w.list))]
	for i, key := range keys {
		at := w.indexOf(key)
		if at < 0 {
			at = w.vacant(keys)
			w.renew(at, key, l.cfg)
		}
		if i > 0 {
			continue
		}
		if at != w.current {
			w.current = at
			if l.image != nil {
				l.image.setCurrent(at)
				l.file.put(currentAt, l.image[currentAt:currentAt+1])
			}
		}
		if !slices.ContainsFunc(keys, w.list[w.latest].is) {
			w.latest = at
		}
	}
}

// windows says which window belongs to which key. A window keeps its place in the
// list, and in the state file.
type windows struct {
	list    []*window // an entry is nil until it is needed
	current int       // place of the current key's window
	latest  int       // place of the window that last took a number
}

// indexOf returns the place of a key's window, or -1.
func (w *windows) indexOf(key Fingerprint) int {
	if w.list[w.latest].is(key) {
		return w.latest
	}
	for at, one := range w.list {
		if one.is(key) {
			return at
		}
	}
	return -1
}

// find returns the window of a key, or nil.
func (w *windows) find(key Fingerprint) *window {
	if at := w.indexOf(key); at >= 0 {
		return w.list[at]
	}
	return nil
}

// vacant returns the place for one more window: one that is free, or the first one
// after the current window that none of the keys has.
func (w *windows) vacant(keys []Fingerprint) int {
	if at := slices.IndexFunc(w.list, func(one *window) bool { return !one.valid() }); at >= 0 {
		return at
	}
	at := w.current
	for range w.list {
		at = (at + 1) % len(w.list)
		if !slices.ContainsFunc(keys, w.list[at].is) {
			return at
		}
	}
	return at // not reached: there are at least as many places as keys
}

// renew starts an empty window for key in a place, and returns it.
func (w *windows) renew(at int, key Fingerprint, cfg Config) *window {
	if w.list[at] == nil {
		words := make([]uint64, slotWords+ringBlocks(cfg.Window))
		blank(words)
		w.list[at] = mapWindow(cfg, words)
	}
	w.list[at] = w.list[at].renew(key)
	return w.list[at]
}
