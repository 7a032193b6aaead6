package told

import (
	"maps"
	"slices"
)

// listed takes a step of a copy that is not complete: pages, and what was written between them.
func (j *judge) listed(e *Event) {
	switch e.Kind {
	case Put, Delete:
		if j.copied == nil {
			j.add(Invented, "tells %d %s before it begins a listing", e.Index, e.Key)
			j.copied = map[string]Change{}
		}
		if at, ok := j.lookUp(e); ok && e.Kind == Put {
			j.copied[e.Key] = j.list[at].Change
		} else if ok {
			delete(j.copied, e.Key)
		}
	case Listed:
		j.compare(e.Index)
		j.listing = false
		j.begin(e.Index)
		j.begun = true
	case Bookmark:
		j.add(Ahead, "a bookmark at %d comes before the listing is complete", e.Index)
	}
}

// compare holds a listing against the map at the one index that it is said to be of.
func (j *judge) compare(index uint64) {
	want := stateAt(j.list, index)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch got, there := j.copied[key]; {
		case !there:
			j.add(Listing, "the listing at %d lacks %s", index, want[key])
		case got != want[key]:
			j.add(Listing, "the listing at %d has %s, and the map has %s", index, got, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(j.copied)) {
		if _, there := want[key]; !there {
			j.add(Listing, "the listing at %d has %s, and the map has no such key then", index, j.copied[key])
		}
	}
}
