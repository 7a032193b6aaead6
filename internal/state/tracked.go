package state

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
// is deleted, unlinked and made again. The one of a key that existed at the
// base is in written, so every such key is there at most once, and those that
// are gone since have to be told. All that came later are in made, also a record
// that was there at the base for a key that was not. Of those no more than the
// last of a key has a value; the others tell nothing that the one in written, or
// none, would not.
type tracked struct {
	on      bool
	base    protocol.Index // 0: nothing is listed yet
	written []place
	// made has no record that was unlinked: a session's answers, each a key that
	// is made and soon deleted, would all stay until the next snapshot. A
	// record knows its place here, plus one.
	made []place
	// prior is what was listed between the base before and this one, nil if there
	// was none: two checkpoints are kept, each in a store of its own, so that the
	// next one has to tell what has changed since the last but one.
	prior *tracked
}

// place is a record and where it belongs.
type place struct {
	space  *Space
	record *Record
}

// note hears of the first write of an entry to a record; before is nil if the
// record is new.
func (t *tracked) note(sp *Space, r *Record, before *Version) {
	switch {
	case t.base == 0:
	case before == nil, before.gone && before.index <= t.base:
		t.made = append(t.made, place{sp, r})
		r.made = uint32(len(t.made))
	case before.index <= t.base:
		t.written = append(t.written, place{sp, r})
	}
}

// unlinked hears of a record that was taken out of its space. Its place may be
// one in a list that was cut off: then another record is there now, or none.
func (t *tracked) unlinked(r *Record) {
	k, last := int(r.made)-1, len(t.made)-1
	if k < 0 || k > last || t.made[k].record != r {
		return
	}
	t.made[k] = t.made[last]
	t.made[k].record.made = uint32(k + 1)
	t.made[last] = place{}
	t.made = t.made[:last]
	if cap(t.made) > madeKept && last < cap(t.made)/4 {
		t.made = append(make([]place, 0, 2*last), t.made...)
	}
}

// madeKept is the room in made that is not given back.
const madeKept = 1 << 12

// cut begins a new base and returns what was listed above the last one.
func (t *tracked) cut(i protocol.Index) (before tracked) {
	before = *t
	*t = tracked{on: before.on}
	if !t.on {
		return before
	}
	t.base = i
	if before.base != 0 {
		prior := before
		prior.prior = nil
		t.prior = &prior
	}
	return before
}

// since returns the lists that together have what was written since an index.
// false: that is no base that is known.
func (t *tracked) since(i protocol.Index) (lists []*tracked, known bool) {
	switch {
	case t.base == 0 || i == 0:
		return nil, false
	case t.base == i:
		return []*tracked{t}, true
	case t.prior != nil && t.prior.base == i:
		return []*tracked{t.prior, t}, true
	}
	return nil, false
}
