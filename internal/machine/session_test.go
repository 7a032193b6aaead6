package machine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/queue"
)

var (
	errRefused = resources.NewError("journal.refused", "refused")
	lines      = resources.NewTable[uint64, string]("lines")
	// note appends a line, so that running twice shows.
	note = resources.NewCommand("note", func(tx *resources.Tx, text string) (int, error) {
		if err := lines.Put(tx, uint64(tx.Index()), text); err != nil {
			return 0, err
		}
		switch text {
		case "refuse":
			return 0, errRefused
		case "panic":
			panic(fmt.Sprint("at ", time.Now()))
		}
		return tx.Len(), nil
	})
	// big answers many bytes.
	big = resources.NewCommand("big", func(tx *resources.Tx, n int) ([]byte, error) {
		return make([]byte, n), lines.Put(tx, uint64(tx.Index()), "big")
	})
	// long answers many bytes and an error.
	long = resources.NewCommand("long", func(_ *resources.Tx, n int) ([]byte, error) {
		return make([]byte, n), errRefused
	})
	journal = resources.NewType("journal", 1, note, big, long)
)

func (l *local) note(id protocol.SessionID, sequence, floor uint64, text string) protocol.Result {
	data, _ := resources.AppendValue(nil, text)
	return l.send(protocol.Command{Session: id, Sequence: sequence, Floor: floor,
		Resource: "j", Type: "journal", Version: 1, Operation: "note", Argument: data})
}

func (l *local) open(t *testing.T, timeout time.Duration) protocol.SessionID {
	t.Helper()
	r := l.send(sessionop.Open(timeout))
	id, err := sessionop.Opened(&r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (l *local) lines(t *testing.T) []string {
	t.Helper()
	v, err := l.m.View("j", "journal")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var out []string
	for row, err := range lines.All(v) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, row.Value)
	}
	return out
}

func wantCode(t *testing.T, what string, r protocol.Result, want *protocol.Error) {
	t.Helper()
	if !errors.Is(r.Err(), want) {
		t.Errorf("%s: got %v, want %v", what, r.Err(), want)
	}
}

// TestDuplicateByLastSequence is counterexample 29: 6 commits before 5; both
// run, each once.
func TestDuplicateByLastSequence(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	first := l.note(id, 6, 5, "six")
	l.note(id, 5, 5, "five")
	again := l.note(id, 6, 5, "six")
	l.note(id, 5, 5, "five")
	if string(again.Data) != string(first.Data) || again.Err() != nil {
		t.Errorf("retry: got % x %v, want % x", again.Data, again.Err(), first.Data)
	}
	if got, want := l.lines(t), []string{"six", "five"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	wantCode(t, "below the floor", l.note(id, 4, 4, "four"), protocol.ErrStaleSequence)
	if r := l.note(id, 7, 7, "seven"); r.Err() != nil {
		t.Error(r.Err())
	}
	wantCode(t, "executed, below the floor by now", l.note(id, 6, 5, "six"), protocol.ErrStaleSequence)
	if got, want := len(l.lines(t)), 3; got != want {
		t.Errorf("got %d lines, want %d", got, want)
	}
}

func TestSessionWindow(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	wantCode(t, "beyond the window", l.note(id, protocol.SessionWindow+1, 1, "x"), protocol.ErrWindow)
	if r := l.note(id, protocol.SessionWindow, 1, "x"); r.Err() != nil {
		t.Errorf("the last of the window: %v", r.Err())
	}
	if r := l.note(id, protocol.SessionWindow+1, 2, "x"); r.Err() != nil {
		t.Errorf("after the floor rose: %v", r.Err())
	}
	wantCode(t, "sequence 0", l.note(id, 0, 0, "x"), protocol.ErrInvalid)
	wantCode(t, "floor above sequence", l.note(id, 5, 6, "x"), protocol.ErrInvalid)
	wantCode(t, "huge sequence", l.note(id, ^uint64(0), ^uint64(0), "x"), protocol.ErrInvalid)
	wantCode(t, "no session", l.note(0, 1, 1, "x"), protocol.ErrInvalid)
	wantCode(t, "unknown session", l.note(77, 1, 1, "x"), protocol.ErrSessionExpired)
	if got := len(l.lines(t)); got != 2 {
		t.Errorf("got %d executions, want 2", got)
	}
}

// TestAnswerEvictedIsNotRunAgain: an answer dropped by size is gone, the
// knowledge that it was executed is not.
func TestAnswerEvictedIsNotRunAgain(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	send := func(sequence uint64, n int) protocol.Result {
		data, _ := resources.AppendValue(nil, n)
		return l.send(protocol.Command{Session: id, Sequence: sequence, Floor: 1,
			Resource: "j", Type: "journal", Version: 1, Operation: "big", Argument: data})
	}
	third := protocol.SessionAnswersBytesMax / 3
	for q := uint64(1); q <= 3; q++ { // the third makes the first go
		if r := send(q, third); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	wantCode(t, "evicted", send(1, third), protocol.ErrAnswerLost)
	for q := uint64(2); q <= 3; q++ {
		if r := send(q, third); r.Err() != nil || len(r.Data) < third {
			t.Errorf("%d: got %d bytes, %v, want the answer", q, len(r.Data), r.Err())
		}
	}
	if r := send(4, protocol.SessionAnswersBytesMax+1); r.Err() != nil {
		t.Errorf("an answer larger than the bound: %v", r.Err())
	}
	for q := uint64(1); q <= 4; q++ {
		wantCode(t, fmt.Sprint(q), send(q, 1), protocol.ErrAnswerLost)
	}
	if got := len(l.lines(t)); got != 4 {
		t.Errorf("got %d executions, want 4", got)
	}
}

// Of an error whose answer is evicted the code stays: that nothing has happened, and why, is what its client
// most needs.
func TestEvictedErrorKeepsItsCode(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	send := func(sequence uint64, operation string) protocol.Result {
		data, _ := resources.AppendValue(nil, protocol.SessionAnswersBytesMax/3)
		return l.send(protocol.Command{Session: id, Sequence: sequence, Floor: 1,
			Resource: "j", Type: "journal", Version: 1, Operation: operation, Argument: data})
	}
	wantCode(t, "at first", send(1, "long"), errRefused)
	for q := uint64(2); q <= 5; q++ {
		if r := send(q, "big"); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	check := func(what, text string) {
		r := send(1, "long")
		wantCode(t, what, r, errRefused)
		if len(r.Data) > 0 || r.Index != 2 || r.Text != text {
			t.Errorf("%s: got %d bytes at %d, %q", what, len(r.Data), r.Index, r.Text)
		}
		wantCode(t, what+", no error", send(2, "big"), protocol.ErrAnswerLost)
	}
	check("evicted", errRefused.Text)
	l.restart(t)
	check("after a start from a checkpoint", "")
	if counted, kept := l.m.Verify(); counted != kept {
		t.Errorf("counted %v, kept %v", counted, kept)
	}
}

// Whoever has taken an element of a queue is told, however much the session has to keep for those who have
// taken none.
func TestWhatWasTakenOfAQueueIsNotEvicted(t *testing.T) {
	l := newLocal(t, queue.Type)
	for range 30 {
		if _, err := queue.Push.Do(t.Context(), l, "q", make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	id := l.open(t, 0)
	take := func(sequence uint64, upTo protocol.Index) protocol.Result {
		data, _ := resources.AppendValue(nil, upTo)
		return l.send(protocol.Command{Session: id, Sequence: sequence, Floor: 1,
			Resource: "q", Type: "queue", Version: 1, Operation: "take", Argument: data})
	}
	first := take(1, 1<<40)
	if first.Err() != nil {
		t.Fatal(first.Err())
	}
	for q := uint64(2); q < 20; q++ {
		wantCode(t, "others are first", take(q, 1), protocol.ErrConditionFailed)
	}
	wantSame(t, "a copy", take(1, 1<<40), first)
	wantCode(t, "a copy of one that took none", take(2, 1), protocol.ErrConditionFailed)
}

// An answer is evicted by the age of its command's number, also if that came late: what
// was passed over when older ones were evicted is looked at again.
func TestLateCommandsAnswerIsEvictedFirst(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	third := protocol.SessionAnswersBytesMax / 3
	send := func(sequence uint64) protocol.Result {
		data, _ := resources.AppendValue(nil, third)
		return l.send(protocol.Command{Session: id, Sequence: sequence, Floor: 1,
			Resource: "j", Type: "journal", Version: 1, Operation: "big", Argument: data})
	}
	for _, q := range []uint64{2, 3, 4, 1} { // the fourth makes 2 go; 1 comes late, and goes at once
		if r := send(q); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	for _, q := range []uint64{1, 2} {
		wantCode(t, fmt.Sprint(q), send(q), protocol.ErrAnswerLost)
	}
	for _, q := range []uint64{3, 4} {
		if r := send(q); r.Err() != nil || len(r.Data) < third {
			t.Errorf("%d: got %d bytes, %v, want the answer", q, len(r.Data), r.Err())
		}
	}
}

func TestErrorAndPanicLeaveNoTrace(t *testing.T) {
	l := newLocal(t, journal)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler)})
	id := l.open(t, 0)
	wantCode(t, "refused", l.note(id, 1, 1, "refuse"), errRefused)
	v, err := l.m.View("j", "something")
	if !errors.Is(err, protocol.ErrUnknownType) {
		t.Errorf("got %v %v, want an unknown type", v, err)
	}
	r := l.note(id, 2, 1, "panic")
	wantCode(t, "panic", r, protocol.ErrPanicked)
	if r.Text != protocol.ErrPanicked.Text {
		t.Errorf("got %q, want one fixed text", r.Text)
	}
	again := l.note(id, 1, 1, "refuse")
	wantCode(t, "the stored error", again, errRefused)
	if again.Text != errRefused.Text {
		t.Errorf("the stored error: got text %q, want %q", again.Text, errRefused.Text)
	}
	if got := l.lines(t); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}

// TestPanicTextsDoNotFork is counterexample 30: what differs between members,
// such as the text of a panic, is not in the state.
func TestPanicTextsDoNotFork(t *testing.T) {
	var digests [2]machine.Digest
	for i := range digests {
		l := newLocal(t, journal)
		l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler),
			RingChanges: 1 + i, RingBytes: 1 + i})
		id := l.open(t, 0)
		l.note(id, 1, 1, "panic") // says what time it is
		l.note(id, 2, 1, "fine")
		_, digests[i] = l.m.Digest()
	}
	if digests[0] != digests[1] {
		t.Errorf("got %v and %v, want one digest", digests[0], digests[1])
	}
}

// TestUnknownTypeStops is counterexample 34, the machine's part: it never
// skips what it does not know.
func TestUnknownTypeStops(t *testing.T) {
	for name, c := range map[string]protocol.Command{
		"type":      {Resource: "j", Type: "novelty", Version: 1, Operation: "note"},
		"version":   {Resource: "j", Type: "journal", Version: 2, Operation: "note"},
		"operation": {Resource: "j", Type: "journal", Version: 1, Operation: "novelty"},
	} {
		l := newLocal(t, journal)
		l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler)})
		id := l.open(t, 0)
		c.Session, c.Sequence = id, 1
		if l.m.Check(&c) == nil {
			t.Errorf("%s: Check lets it into the log", name)
		}
		before, digest := l.m.Digest()
		noop := protocol.Entry{Index: before + 2, Term: 1, Kind: protocol.EntryNoop}
		results := l.m.Apply([]protocol.Entry{l.entry(protocol.EntryCommand, protocol.EncodeCommand(&c)), noop}, nil)
		if len(results) != 0 || l.m.Stopped() == nil {
			t.Errorf("%s: got %d results, stopped: %v", name, len(results), l.m.Stopped())
		}
		if at, got := l.m.Digest(); at != before || got != digest {
			t.Errorf("%s: the state moved on to %d", name, at)
		}
		if err := l.m.WaitApplied(t.Context(), before+1); err == nil || err != l.m.Stopped() {
			t.Errorf("%s: a waiter got %v, want why it stopped", name, err)
		}
		if got := l.m.Apply([]protocol.Entry{noop}, nil); len(got) != 0 {
			t.Errorf("%s: it went on", name)
		}
	}
}

func TestSessionsExpireInOrder(t *testing.T) {
	l := newLocal(t, journal)
	a := l.open(t, 3*time.Second)
	b := l.open(t, 2*time.Second)
	c := l.open(t, 2*time.Second)
	if got, want := l.m.NextDeadline(), protocol.ClusterTime(2*time.Second); got != want {
		t.Errorf("got deadline %v, want %v", got, want)
	}
	l.note(b, 1, 1, "x")
	l.time = protocol.ClusterTime(time.Second)
	if r := l.send(sessionop.KeepAlive(c, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	l.time = protocol.ClusterTime(2 * time.Second)
	wantCode(t, "b at its deadline", l.note(b, 2, 1, "x"), protocol.ErrSessionExpired)
	if r := l.note(c, 1, 1, "x"); r.Err() != nil {
		t.Errorf("c was kept alive: %v", r.Err())
	}
	l.time = protocol.ClusterTime(3 * time.Second)
	l.noop() // a new term extends before it ends anything
	if r := l.note(a, 1, 1, "x"); r.Err() != nil {
		t.Errorf("a was extended by the new term: %v", r.Err())
	}
	if got, want := l.m.NextDeadline(), protocol.ClusterTime(5*time.Second); got != want {
		t.Errorf("got deadline %v, want %v", got, want)
	}
	if r := l.send(sessionop.Close(a)); r.Err() != nil {
		t.Error(r.Err())
	}
	wantCode(t, "closed", l.note(a, 2, 1, "x"), protocol.ErrSessionExpired)
	l.time = protocol.ClusterTime(time.Minute)
	l.m.Apply([]protocol.Entry{l.entry(protocol.EntryTick, nil)}, nil)
	if got := l.m.Stats(); got.Sessions != 0 || l.m.NextDeadline() != 0 {
		t.Errorf("got %d sessions, deadline %v, want none", got.Sessions, l.m.NextDeadline())
	}
	for _, timeout := range []time.Duration{-1, 1, protocol.SessionTimeoutMin - 1, protocol.SessionTimeoutMax + 1} {
		wantCode(t, fmt.Sprint(timeout), l.send(sessionop.Open(timeout)), protocol.ErrInvalid)
	}
}

func TestAtMostSoManyExpiriesPerEntry(t *testing.T) {
	l := newLocal(t, journal)
	for range protocol.SessionExpiriesMax + 5 {
		l.open(t, time.Second)
	}
	l.time = protocol.ClusterTime(time.Second)
	for _, want := range []int{5, 0} {
		l.m.Apply([]protocol.Entry{l.entry(protocol.EntryTick, nil)}, nil)
		if got := l.m.Stats().Sessions; got != want {
			t.Errorf("got %d sessions left, want %d", got, want)
		}
	}
	if stats := l.m.Stats(); stats.Keys != 0 {
		t.Errorf("got %d keys left, want none", stats.Keys)
	}
}

// TestExecutedOnceWhateverTheOrder delivers the commands of a pipelining client
// in random order and many times.
func TestExecutedOnceWhateverTheOrder(t *testing.T) {
	r := newRandom(t)
	l := newLocal(t, journal)
	id := l.open(t, time.Hour)
	executed := map[string]int{}
	floor, next := uint64(1), uint64(1)
	answered := map[uint64]bool{}
	type sent struct{ sequence, floor uint64 }
	var wire []sent
	for len(answered) < 500 || floor < next {
		if next < 600 && r.IntN(2) == 0 && next < floor+protocol.SessionWindow {
			wire = append(wire, sent{next, floor})
			next++
		}
		if len(wire) == 0 {
			continue
		}
		k := r.IntN(len(wire))
		c := wire[k]
		if r.IntN(3) == 0 && c.sequence >= floor { // else it stays on the wire and comes again
			wire = slices.Delete(wire, k, k+1)
			wire = append(wire, sent{c.sequence, floor})
		}
		result := l.note(id, c.sequence, c.floor, fmt.Sprint(c.sequence))
		switch {
		case result.Err() == nil:
			answered[c.sequence] = true
		case !errors.Is(result.Err(), protocol.ErrStaleSequence) || !answered[c.sequence]:
			t.Fatalf("%d with floor %d: %v", c.sequence, c.floor, result.Err())
		}
		for answered[floor] {
			floor++
		}
		if r.IntN(50) == 0 {
			l.noop()
		}
	}
	for _, line := range l.lines(t) {
		executed[line]++
	}
	for _, line := range slices.Sorted(maps.Keys(executed)) {
		if executed[line] != 1 {
			t.Errorf("%s was executed %d times", line, executed[line])
		}
	}
	if got := len(executed); got != int(next-1) {
		t.Errorf("got %d executed, want %d", got, next-1)
	}
}

// A copy of a command is answered with the index at which the command took effect, not with
// its own: that is the version of what was written, for whoever writes on from there.
func TestACopyHasTheIndexOfItsCommand(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, time.Minute)
	first := l.note(id, 1, 1, "x")
	l.note(id, 2, 1, "y")
	wantSame(t, "a copy", l.note(id, 1, 1, "x"), first)
	l.restart(t)
	wantSame(t, "after a start from a checkpoint", l.note(id, 1, 1, "x"), first)
}
