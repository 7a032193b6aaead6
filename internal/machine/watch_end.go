package machine

// EndWatches ends the watches of all resources for which why returns an error, with that.
// Watches that begin later are told as ever.
func (m *Machine) EndWatches(why func(resource string) error) { m.hub.end(why) }

func (h *hub) end(why func(resource string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.streams { // order does not matter: each by itself
		err := why(name)
		if err == nil || s.watchers == 0 {
			continue
		}
		s.ended.Store(&err)
		s.audience.wakeAll(nil)
		later := &stream{first: s.first, last: s.last, gone: s.gone}
		h.streams[name] = later
		h.forget(name, later)
	}
}
