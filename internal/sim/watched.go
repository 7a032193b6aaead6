package sim

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
)

// twinsEach is how many keys beside its own a put writes in the same entry, at most.
const twinsEach = 2

// twinName is one of them. Only watches look at it.
func twinName(object, twin int) string { return fmt.Sprintf("%s/%d", objectName(object), twin) }

// changed takes down what a command has changed in the map, by the specification: what every
// watch has to tell, whatever the members made of it.
func (s *state) changed(o *op, before cell, out output) {
	at := uint64(o.executed)
	put := func(key string) told.Change {
		return told.Change{Index: at, Key: key, Kind: protocol.ChangePut, Value: o.value}
	}
	switch {
	case o.kind == opPut || o.kind == opSwap && !out.failed:
		entry := []told.Change{put(objectName(o.object))}
		for twin := range o.twins {
			entry = append(entry, put(twinName(o.object, twin+1)))
		}
		s.changes = append(s.changes, entry)
	case o.kind == opDelete && before.found:
		s.changes = append(s.changes, []told.Change{{Index: at, Key: objectName(o.object), Kind: protocol.ChangeDelete}})
	}
}

// lastChange is where the map was changed last.
func (s *state) lastChange() uint64 {
	if n := len(s.changes); n > 0 {
		return s.changes[n-1][0].Index
	}
	return 0
}

// untold says which watch is not at the end of what there is to be told, or nothing.
func (s *load) untold() string {
	last := s.state.lastChange()
	for _, o := range s.onlookers {
		if o.resting || len(o.streams) == 0 {
			return o.name + " rests"
		}
		if at := o.stream().Resume(); at < last {
			return fmt.Sprintf("%s has come to %d of %d", o.stream().Name, at, last)
		}
	}
	return ""
}

// judgeWatches holds all that watches were told against what the log has changed.
func (s *load) judgeWatches(settled bool) error {
	if s.forked || s.state.blind {
		return nil
	}
	var truth told.Truth
	for _, entry := range s.state.changes {
		known := time.Duration(s.ledger.at(protocol.Index(entry[0].Index)).at)
		truth.Entry(known, entry...)
	}
	for _, o := range s.onlookers {
		for i, stream := range o.streams {
			if settled && i == len(o.streams)-1 {
				stream.Must = s.state.lastChange()
			}
			if found := told.Judge(&truth, stream); len(found) > 0 {
				return violated(RuleWatch, "%v", found[0])
			}
			s.counts.add(countWatchesJudged, 1)
		}
	}
	return nil
}
