package resources

import "github.com/starlinghq/starling/protocol"

// tracked are the records written since a base, the index of the last snapshot
// or that of the checkpoint that was loaded: what the next incremental
// checkpoint has to tell. It belongs to the writer.
//
// A record is listed once. That it is listed already shows in the version
// before: one above the base was written since. So a write costs one
// comparison, and a new key one place in a list.
//
// A key can have several records since the base, one after the other, when it
// is deleted, unlinked and made again. The one that was linked at the base, if
// any, is in written, so every key is there at most once. All that came later
// are in made. Of those no more than the last is linked; the others tell
// nothing that the one in written, or none, would not.
type tracked struct {
	on      bool
	base    protocol.Index // 0: nothing is listed yet
	written []place
	made    []place
	// cursor walks around made and takes out what has been unlinked, two looks
	// per new record. Without it a session's answers, each a key that is made
	// and soon deleted, would all stay until the next snapshot.
	cursor int
}

// place is a record and where it belongs.
type place struct {
	space  *space
	record *record
}

// note hears of the first write of an entry to a record; before is nil if the
// record is new.
func (t *tracked) note(sp *space, r *record, before *version) {
	switch {
	case t.base == 0:
	case before == nil:
		t.made = append(t.made, place{sp, r})
		t.tidy()
		t.tidy()
	case before.index <= t.base:
		t.written = append(t.written, place{sp, r})
	}
}

// tidy looks at one of the records made.
func (t *tracked) tidy() {
	last := len(t.made) - 1
	if t.cursor >= last { // the one just made is linked
		t.cursor = 0
		return
	}
	if p := t.made[t.cursor]; p.record.head.Load().gone && !p.space.linked(p.record) {
		t.made[t.cursor] = t.made[last]
		t.made[last] = place{}
		t.made = t.made[:last]
		return
	}
	t.cursor++
}

// linked reports whether a record is the one of its key.
func (sp *space) linked(r *record) bool { return sp.table.get(r.key, r.hash) == r }

// cut begins a new base and returns what was listed above the last one.
func (t *tracked) cut(i protocol.Index) (before tracked) {
	before = *t
	*t = tracked{on: before.on}
	if t.on {
		t.base = i
	}
	return before
}

// dead reports that a record in written tells that its key is gone at an index
// which is still pinned.
func (p place) dead(i protocol.Index) bool {
	if p.record.at(i) != nil {
		return false
	}
	now := p.space.table.get(p.record.key, p.record.hash)
	return now == nil || now.at(i) == nil
}
