package member

import (
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// runWith makes steps until the writer rests or has made so many calls, and lets a vote come
// before one of them.
func runWith(w *LogWriter, log *script, vote *replica.Persist, at, calls int) {
	for w.Next() != LogRests && len(log.calls) < calls {
		if len(log.calls) == at && vote != nil {
			w.Begin(vote)
			vote = nil
		}
		did := w.Step()
		if did.Tell != nil {
			log.calls = append(log.calls, "told")
		}
		if did.Failed != nil {
			log.calls = append(log.calls, "failed")
		}
		if did.Pause == RoomPause {
			log.calls = append(log.calls, "pause")
		}
	}
}

// A vote is written ahead of a change that waits for room, and is durable before the replica
// is told; so is that it is, before the change is tried again. Where there is no room for
// votes the change is tried as well, and the vote comes after it.
func TestAVoteGoesAheadOfWhatWaits(t *testing.T) {
	full, broken := protocol.ErrNoSpace, errors.New("i/o error")
	for _, test := range []struct {
		name string
		errs map[string][]error
		at   int
		want string
	}{
		{"room for it", map[string][]error{"write": {full, full}}, 3, "write told pause vote sync told settle write pause write sync told note settle"},
		{"none", map[string][]error{"write": {full, full}, "vote": {full, full}}, 3, "write told pause vote write pause vote write sync told vote sync told note settle"},
		{"none for the note", map[string][]error{"write": {full}, "settle": {full}}, 3, "write told pause vote sync told settle write sync told note settle"},
		{"what waited is being synced", map[string][]error{"write": {full}}, 4, "write told pause write sync told vote sync told note settle"},
		{"a sync that fails", map[string][]error{"write": {full}, "sync": {broken}}, 3, "write told pause vote sync told failed"},
		{"a write that fails", map[string][]error{"write": {full}, "vote": {broken}}, 3, "write told pause vote told failed"},
	} {
		log := &script{errs: test.errs}
		w := NewLogWriter(log)
		w.Begin(&replica.Persist{ID: 1, Write: protocol.Write{Sync: true}})
		runWith(&w, log, &replica.Persist{ID: 2, Vote: true}, test.at, 30)
		if got := fmt.Sprint(log.calls); got != "["+test.want+"]" {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// [S] What waits, and all that comes after it, says at least the term and the vote that were
// written ahead; its commit index is its own.
func TestTermDoesNotGoBackWhenWhatWaitedIsWritten(t *testing.T) {
	a := protocol.MemberID{1}
	log := &script{errs: map[string][]error{"write": {protocol.ErrNoSpace}}}
	w := NewLogWriter(log)
	w.Begin(&replica.Persist{ID: 1, Write: protocol.Write{Sync: true, State: protocol.HardState{Term: 5, Commit: 3}}})
	vote := &replica.Persist{ID: 2, Vote: true, Write: protocol.Write{State: protocol.HardState{Term: 7, Vote: a}}}
	runWith(&w, log, vote, 3, 30)
	w.Begin(&replica.Persist{ID: 3, Write: protocol.Write{State: protocol.HardState{Term: 6, Commit: 4}}})
	w.Step()
	w.Begin(&replica.Persist{ID: 4, Write: protocol.Write{State: protocol.HardState{Term: 8, Commit: 5}}})
	w.Step()
	want := []protocol.HardState{{Term: 5, Commit: 3}, {Term: 7, Vote: a, Commit: 3}, {Term: 7, Vote: a, Commit: 4}, {Term: 8, Commit: 5}}
	if fmt.Sprint(log.states) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", log.states, want)
	}
}
