package machine_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// TestRefusedEntryHasNoEffect: neither the command, nor one that cannot be
// decoded, nor one that every machine stops at; only index and time go on.
func TestRefusedEntryHasNoEffect(t *testing.T) {
	unknown := protocol.Command{Session: 1, Sequence: 9, Floor: 9, Resource: "j", Type: "novelty", Version: 1, Operation: "x"}
	known := protocol.Command{Session: 1, Sequence: 9, Floor: 9, Resource: "j", Type: "journal", Version: 1, Operation: "note"}
	for what, e := range map[string]protocol.Entry{
		"command":      {Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&known)},
		"unknown type": {Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&unknown)},
		"garbage":      {Kind: protocol.EntryCommand, Data: []byte{1, 2, 3}},
		"unknown kind": {Kind: 99},
		"noop":         {Kind: protocol.EntryNoop},
		"checkpoint":   {Kind: protocol.EntryCheckpoint},
		"confirmation": {Kind: protocol.EntryConfirmation},
	} {
		l := newLocal(t, journal)
		l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler), Refuse: []protocol.Index{3}})
		id := l.open(t, 2*time.Second)
		if r := l.note(id, 1, 1, "x"); r.Err() != nil {
			t.Fatal(r.Err())
		}
		before, _ := l.m.Verify()
		e.Index, e.Term, e.Time = 3, 1, protocol.ClusterTime(2*time.Second)
		results := l.m.Apply([]protocol.Entry{e}, nil)
		if len(results) != 1 || !errors.Is(results[0].Err(), protocol.ErrRefusedEntry) || results[0].Index != 3 {
			t.Fatalf("%s: got %+v, want that it was refused", what, results)
		}
		// Of a command its session remembers that it was refused.
		remembers := what == "command" || what == "unknown type"
		if i, got := l.m.Digest(); i != 3 || (got == before) == remembers || l.m.Stopped() != nil {
			t.Errorf("%s: got digest %v at %d, stopped: %v; it was %v", what, got, i, l.m.Stopped(), before)
		}
		l.noopTick() // with a time below: what was due ends now
		if got := l.m.Stats(); got.Sessions != 0 || got.Applied != 4 {
			t.Errorf("%s: got %d sessions at %d, want none at 4", what, got.Sessions, got.Applied)
		}
		if got, want := l.lines(t), []string{"x"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

// A command that is refused is in the log several times, because nobody was answered
// and its client has sent it again: none of them runs. The session goes on.
func TestRefusedCommandIsNotRunWhenItIsSentAgain(t *testing.T) {
	l := newLocal(t, journal)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler), Refuse: []protocol.Index{3}})
	id := l.open(t, time.Minute)
	if r := l.note(id, 1, 1, "before"); r.Err() != nil {
		t.Fatal(r.Err())
	}
	for range 3 { // 3, 4 and 5
		if r := l.note(id, 2, 1, "hangs"); !errors.Is(r.Err(), protocol.ErrRefusedEntry) {
			t.Errorf("got %v, want %v", r.Err(), protocol.ErrRefusedEntry)
		}
	}
	if r := l.note(id, 3, 2, "after"); r.Err() != nil {
		t.Error(r.Err())
	}
	if got, want := l.lines(t), []string{"before", "after"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// [S] A refused entry whose command would not have run is answered as ever: as a copy of what
// has happened, or that its session is gone, or, beyond the bounds of one-shots, that it has
// not happened and may be sent again. It then runs, once: nothing of it is in the way.
func TestRefusedEntryThatWouldNotRunIsAnsweredAsEver(t *testing.T) {
	most := protocol.Index(protocol.OneShotsMax)
	l := newLocal(t, journal)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler), Refuse: []protocol.Index{3, 5, 6, most + 6}})
	id := l.open(t, time.Minute)
	first := l.note(id, 1, 1, "in a session")
	wantSame(t, "a copy", l.note(id, 1, 1, "in a session"), first)
	alone := l.noteAlone(1, 0, "alone")
	wantSame(t, "a copy of a one-shot", l.noteAlone(1, 0, "alone"), alone)
	if r := l.note(id+100, 1, 1, "x"); !errors.Is(r.Err(), protocol.ErrSessionExpired) {
		t.Errorf("without its session: got %v, want %v", r.Err(), protocol.ErrSessionExpired)
	}
	for n := uint64(2); n <= uint64(most); n++ {
		if r := l.noteAlone(n, l.m.Applied(), ""); r.Err() != nil {
			t.Fatal(n, r.Err())
		}
	}
	seen := l.m.Applied()
	if r := l.noteAlone(0xfeed, seen, "late"); r.Index != most+6 || !errors.Is(r.Err(), protocol.ErrOverloaded) {
		t.Errorf("beyond the bounds: got %v at %d, want %v at %d", r.Err(), r.Index, protocol.ErrOverloaded, most+6)
	}
	l.at(protocol.OneShotKept + time.Second)
	if r := l.noteAlone(0xfeed, seen, "late"); r.Err() != nil || l.lines(t)[len(l.lines(t))-1] != "late" {
		t.Errorf("sent again: got %v", r.Err())
	}
}

// TestNothingIsRefusedUnlessTold: index 0 is no entry's.
func TestNothingIsRefusedUnlessTold(t *testing.T) {
	l := newLocal(t, journal)
	for range 5 {
		if r := l.m.Apply([]protocol.Entry{l.entry(protocol.EntryNoop, nil)}, nil); r[0].Err() != nil {
			t.Error(r[0].Err())
		}
	}
}

// TestEndSessionsLeavesNone: a recovered cluster begins without the clients of
// the lost one, at an index that was never given, with all the data, and every
// machine that does it gets the same state.
func TestEndSessionsLeavesNone(t *testing.T) {
	h := &history{r: newRandom(t), alone: true}
	var entries []protocol.Entry
	for range 300 {
		entries = append(entries, h.next())
	}
	entries = append(entries, h.entry(protocol.EntryCommand, command(sessionop.Open(0))))
	at := entries[len(entries)-1].Index + 1<<20
	var first machine.Digest
	for k := range 2 {
		m := newTracked(t)
		m.Apply(entries, nil)
		before := m.Snapshot()
		if k == 1 { // as good from a checkpoint
			restored := newTracked(t)
			restored.Install(loaderOf(t, restored, before))
			m = restored
		}
		if err := m.EndSessions(at); err != nil {
			t.Fatal(err)
		}
		i, digest := m.Digest()
		if counted, _ := m.Verify(); i != at || counted != digest {
			t.Fatalf("got %v at %d, counted %v", digest, i, counted)
		}
		if k == 0 {
			first = digest
		} else if digest != first {
			t.Errorf("got %v from a checkpoint, want %v", digest, first)
		}
		if got := m.Stats().Sessions; got != 0 || m.NextDeadline() != 0 {
			t.Errorf("got %d sessions, deadline %v", got, m.NextDeadline())
		}
		after := m.Snapshot()
		got := full(t, after)
		for place := range got {
			if place[0] == "" && (place[1][0] == 's' || place[1][0] == 'x') {
				t.Errorf("%q is left", place[1])
			}
		}
		for place, item := range full(t, before) {
			if place[0] != "" && got[place].Index != item.Index {
				t.Errorf("%q: got index %d, want %d", place, got[place].Index, item.Index)
			}
		}
		next := newTracked(t)
		l := loaderOf(t, next, after)
		if got, want := l.Time(), entries[len(entries)-1].Time; got != want {
			t.Errorf("got time %v, want %v", got, want)
		}
		next.Install(l)
		if r := next.Apply([]protocol.Entry{{Index: at + 1, Term: 9, Kind: protocol.EntryNoop}}, nil); len(r) != 1 {
			t.Errorf("the new cluster does not go on: %v", next.Stopped())
		}
		before.Close()
		after.Close()
	}
}
