package told

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Unknown is when a change was acknowledged of which nobody knows that: no age is held against it.
const Unknown = time.Duration(-1)

// Change is what one entry did to one key. Who has large values may give a sum of each, to both
// sides.
type Change struct {
	Index uint64
	Key   string
	Kind  protocol.ChangeKind
	Value string // of a put
	// Previous is for who tells the change. Of what a Truth has it is reckoned.
	Previous Previous
}

// Previous is what a watch says that a key was before a change.
type Previous struct {
	Kind  protocol.PreviousKind
	Value string
}

// String names it for a sentence.
func (p Previous) String() string {
	switch p.Kind {
	case protocol.PreviousNone:
		return "no such key"
	case protocol.PreviousValue:
		return fmt.Sprintf("%q", p.Value)
	}
	return "not known"
}

// String names the change for a sentence.
func (c Change) String() string {
	if c.Kind == protocol.ChangeDelete {
		return fmt.Sprintf("%d delete %s", c.Index, c.Key)
	}
	return fmt.Sprintf("%d put %s=%s", c.Index, c.Key, c.Value)
}

// fact is a change with when it was acknowledged, or Unknown.
type fact struct {
	Change
	known time.Duration
	place int // in its entry
}

// Truth is what the log changed in one resource, from its first entry on.
type Truth struct {
	facts  []fact
	open   [][]Change // that may have been written
	sorted bool
}

// Entry adds all that one entry changed, in the order in which it did, and when the entry was
// first known to be acknowledged. Entries may be added in any order.
func (t *Truth) Entry(known time.Duration, changes ...Change) {
	for i, c := range changes {
		t.facts = append(t.facts, fact{c, known, i})
	}
	t.sorted = false
}

// sort puts the facts in the order of the log.
func (t *Truth) sort() {
	if !t.sorted {
		slices.SortStableFunc(t.facts, func(a, b fact) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.place, b.place)) })
		t.sorted = true
	}
}

// of returns what concerns keys that begin with a prefix, in the order of the log.
func (t *Truth) of(prefix string) []fact {
	t.sort()
	list := make([]fact, 0, len(t.facts))
	for _, f := range t.facts {
		if strings.HasPrefix(f.Key, prefix) {
			list = append(list, f)
		}
	}
	return list
}

// above returns the place of the first fact above an index.
func above(list []fact, index uint64) int {
	i, _ := slices.BinarySearchFunc(list, index, func(f fact, index uint64) int {
		if f.Index <= index {
			return -1
		}
		return 1
	})
	return i
}

// find returns the place of what an entry did to a key, or -1.
func find(list []fact, index uint64, key string) int {
	for i := above(list, index) - 1; i >= 0 && list[i].Index == index; i-- {
		if list[i].Key == key {
			return i
		}
	}
	return -1
}

// stateAt returns the last put of each key up to an index.
func stateAt(list []fact, index uint64) map[string]Change {
	state := map[string]Change{}
	for _, f := range list[:above(list, index)] {
		if f.Kind == protocol.ChangeDelete {
			delete(state, f.Key)
			continue
		}
		state[f.Key] = f.Change
	}
	return state
}

// Maybe adds what one entry has changed if it was ever written: its writer does not know. The
// index of its changes is not known.
func (t *Truth) Maybe(changes ...Change) { t.open = append(t.open, changes) }

// Resolve makes what is open true where some stream was told of it, at the index at which that
// was. All others are held against it.
func (t *Truth) Resolve(streams []*Stream) {
	if len(t.open) == 0 {
		return
	}
	t.sort()
	still := t.open[:0]
	for _, entry := range t.open {
		index, ok := t.toldOf(entry[0], streams)
		if !ok {
			still = append(still, entry)
			continue
		}
		for i := range entry {
			entry[i].Index = index
		}
		t.Entry(Unknown, entry...)
		t.sort()
	}
	t.open = still
}

// toldOf returns where a change was told that is not true so far.
func (t *Truth) toldOf(c Change, streams []*Stream) (index uint64, ok bool) {
	for _, s := range streams {
		for i := range s.Events {
			e := &s.Events[i]
			if e.Key == c.Key && kinds[e.Kind] == c.Kind && e.Value == c.Value && find(t.facts, e.Index, e.Key) < 0 {
				return e.Index, true
			}
		}
	}
	return 0, false
}
