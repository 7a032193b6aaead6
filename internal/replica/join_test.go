package replica

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// [S] What a log has acknowledged to the leader of its term and gives up for a
// checkpoint of another history must not be missed by that leader: the member has
// left its term before the log is gone, whenever it crashes.
func TestLogThatIsGivenUpLeavesItsTermFirst(t *testing.T) {
	shapeOf := func(terms ...protocol.Term) *protocol.LogTerms {
		var s protocol.LogTerms
		for _, t := range terms {
			s.Append(t)
		}
		return &s
	}
	vote := protocol.MemberID{7}
	for name, c := range map[string]struct {
		logTerms *protocol.LogTerms
		d        storage.Manifest
		want     protocol.HardState
	}{
		"another entry there, of the term": {shapeOf(1, 3, 3), storage.Manifest{Index: 2, Term: 2}, protocol.HardState{Term: 4, Commit: 2}},
		"another entry, of a later term":   {shapeOf(1, 3, 3), storage.Manifest{Index: 2, Term: 5}, protocol.HardState{Term: 5, Commit: 2}},
		"the last is of an earlier term":   {shapeOf(1, 1, 2), storage.Manifest{Index: 2, Term: 2}, protocol.HardState{Term: 3, Vote: vote, Commit: 2}},
		"the log ends below":               {shapeOf(1, 3), storage.Manifest{Index: 9, Term: 3}, protocol.HardState{Term: 3, Vote: vote, Commit: 9}},
	} {
		got := StateAfter(c.logTerms, protocol.HardState{Term: 3, Vote: vote, Commit: 1}, &c.d)
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
