package machine

import "slices"

// audience are the watchers of one resource, by the prefix of the keys that they want. The
// hub's lock guards it.
type audience struct {
	groups  map[string]*group
	lengths []prefixLength // of the prefixes
	waiting int            // watchers that wait, in all groups
}

// prefixLength is how many groups have a prefix of so many bytes.
type prefixLength struct{ bytes, groups int }

// group are the watchers of one prefix.
type group struct {
	audience *audience
	watchers int
	waiting  []*Watcher // those that have come to the end of the list
}

// join adds a watcher to the group of its prefix.
func (a *audience) join(prefix string) *group {
	g := a.groups[prefix]
	if g == nil {
		g = &group{audience: a}
		if a.groups == nil {
			a.groups = map[string]*group{}
		}
		a.groups[prefix] = g
		k := a.length(prefix)
		if k == len(a.lengths) {
			a.lengths = append(a.lengths, prefixLength{bytes: len(prefix)})
		}
		a.lengths[k].groups++
	}
	g.watchers++
	return g
}

func (a *audience) length(prefix string) int {
	for k := range a.lengths {
		if a.lengths[k].bytes == len(prefix) {
			return k
		}
	}
	return len(a.lengths)
}

// leave takes a watcher out.
func (a *audience) leave(w *Watcher) {
	g := w.group
	if w.slot >= 0 {
		last := len(g.waiting) - 1
		g.waiting[w.slot] = g.waiting[last]
		g.waiting[w.slot].slot = w.slot
		g.waiting[last] = nil
		g.waiting, w.slot = g.waiting[:last], -1
		a.waiting--
	}
	if g.watchers--; g.watchers > 0 {
		return
	}
	delete(a.groups, w.prefix)
	k := a.length(w.prefix)
	if a.lengths[k].groups--; a.lengths[k].groups == 0 {
		a.lengths = slices.Delete(a.lengths, k, k+1)
	}
}

// enlist has a watcher wait.
func (g *group) enlist(w *Watcher) {
	w.slot = len(g.waiting)
	g.waiting = append(g.waiting, w)
	g.audience.waiting++
}

// wake wakes those that wait for one of the keys that a node tells. The others are not
// looked at.
func (a *audience) wake(n *changesNode) {
	if a.waiting == 0 {
		return
	}
	var room [1]recordChange
	changes, _ := n.told(&room)
	for _, c := range changes {
		key := c.record.Key()
		for _, l := range a.lengths {
			if l.bytes > len(key) {
				continue
			}
			if g := a.groups[key[:l.bytes]]; g != nil {
				g.wake(n)
			}
		}
		if a.waiting == 0 {
			return
		}
	}
}

// wakeAll wakes all that wait.
func (a *audience) wakeAll(n *changesNode) {
	for _, g := range a.groups { // order does not matter: all are woken
		g.wake(n)
	}
}

func (g *group) wake(n *changesNode) {
	for k, w := range g.waiting {
		w.slot = -1
		w.first.Store(n)
		select {
		case w.wake <- struct{}{}:
		default:
		}
		g.waiting[k] = nil
	}
	g.audience.waiting -= len(g.waiting)
	g.waiting = g.waiting[:0]
}
