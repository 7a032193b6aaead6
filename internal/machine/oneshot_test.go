package machine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// number returns the number of a one-shot.
func number(n uint64) (out protocol.OneShotNumber) {
	binary.BigEndian.PutUint64(out[8:], n)
	return out
}

func alone(n uint64, seen protocol.Index, operation string, argument any) protocol.Command {
	data, err := resources.AppendValue(nil, argument)
	if err != nil {
		panic(err)
	}
	return protocol.Command{OneShot: protocol.OneShot{Number: number(n), Seen: seen},
		Resource: "j", Type: "journal", Version: 1, Operation: operation, Argument: data}
}

// noteAlone sends a one-shot.
func (l *local) noteAlone(n uint64, seen protocol.Index, text string) protocol.Result {
	return l.send(alone(n, seen, "note", text))
}

// restart goes on from a checkpoint of the state.
func (l *local) restart(t *testing.T) {
	t.Helper()
	snapshot := l.m.Snapshot()
	defer snapshot.Close()
	registry := l.m.Registry()
	l.m = machine.New(machine.Config{Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	l.m.Install(load(t, newRandom(t), l.m, snapshot.Index(), snapshot.Digest(), full(t, snapshot).items()))
}

func wantSame(t *testing.T, what string, got, want protocol.Result) {
	t.Helper()
	if got.Code != want.Code || got.Index != want.Index || !slices.Equal(got.Data, want.Data) {
		t.Errorf("%s: got %q %q at %d, want %q %q at %d", what, got.Code, got.Data, got.Index, want.Code, want.Data, want.Index)
	}
}

// [S] A copy of a one-shot does not run again, and is answered as the first was, an error
// too: after other entries, a new leader, and a start from a checkpoint.
func TestACopyOfAOneShotDoesNotRunAgain(t *testing.T) {
	l := newLocal(t, journal)
	first := l.noteAlone(1, 0, "one")
	refused := l.noteAlone(2, 0, "refuse")
	wantCode(t, "refused", refused, errRefused)
	again := func(when string) {
		t.Helper()
		wantSame(t, when, l.noteAlone(1, 0, "one"), first)
		wantSame(t, when+", refused", l.noteAlone(2, 0, "refuse"), refused)
	}
	again("at once")
	if got := l.noteAlone(2, 0, "refuse"); got.Text != refused.Text {
		t.Errorf("got the text %q, want %q", got.Text, refused.Text)
	}
	l.note(l.open(t, 0), 1, 1, "other")
	l.noop()
	again("after a new leader")
	l.restart(t)
	again("after a start from a checkpoint")
	l.time = protocol.ClusterTime(protocol.OneShotKept) - 1
	again("just before it is forgotten")
	if got, want := l.lines(t), []string{"one", "other"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// [S] A copy that comes when its number is forgotten is refused, however late, and after a
// start from a checkpoint, too: its client had seen less than the horizon. One that
// was drawn since runs.
func TestACopyOfAForgottenOneShotIsRefused(t *testing.T) {
	l := newLocal(t, journal)
	first := l.noteAlone(1, 0, "one")
	l.time += protocol.ClusterTime(protocol.OneShotKept)
	for range 2 {
		wantCode(t, "a late copy", l.noteAlone(1, 0, "one"), protocol.ErrSessionExpired)
		wantCode(t, "another one that had seen as little", l.noteAlone(2, 0, "two"), protocol.ErrSessionExpired)
		l.restart(t)
	}
	if r := l.noteAlone(3, first.Index, "three"); r.Err() != nil {
		t.Error(r.Err())
	}
	if got, want := l.lines(t), []string{"one", "three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// [S] What a client cannot have seen before its command is no ground to let it in: when
// the command is forgotten, its copy would have seen more than that.
func TestAOneShotThatSawTheFutureIsRefused(t *testing.T) {
	l := newLocal(t, journal)
	next := l.m.Applied() + 1
	wantCode(t, "its own index", l.noteAlone(1, next, "x"), protocol.ErrSessionExpired)
	wantCode(t, "far away", l.noteAlone(1, protocol.IndexMax, "x"), protocol.ErrSessionExpired)
	if got := l.lines(t); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}

// A one-shot is one entry, and leaves nothing behind: the next entry after its time, of
// whatever kind, forgets it, and none is asked for.
func TestAOneShotLeavesNothingBehind(t *testing.T) {
	l := newLocal(t, journal)
	l.noteAlone(1, 0, "one")
	if got := l.m.NextDeadline(); got != 0 {
		t.Errorf("got a deadline at %v, want none", got)
	}
	if got := l.m.Stats().Sessions; got != 0 {
		t.Errorf("got %d sessions, want none", got)
	}
	l.time += protocol.ClusterTime(protocol.OneShotKept) / 2
	l.noop() // a new leader: nobody could be answered meanwhile
	l.time += protocol.ClusterTime(protocol.OneShotKept) / 2
	l.noopTick()
	if got := count(t, l.m, 'o'); got != 1 {
		t.Errorf("got %d one-shots half of the time after an election, want 1", got)
	}
	l.time += protocol.ClusterTime(protocol.OneShotKept) / 2
	l.noopTick()
	if got := count(t, l.m, 'o'); got != 0 {
		t.Errorf("got %d one-shots, want none", got)
	}
}

// count counts the system's keys of a kind.
func count(t *testing.T, m *machine.Machine, tag byte) (n int) {
	t.Helper()
	snapshot := m.Snapshot()
	defer snapshot.Close()
	for item := range snapshot.All() {
		if item.Space == "" && item.Key[0] == tag {
			n++
		}
	}
	return n
}

// A flood of one-shots is bounded: what is over the limit is refused, and has not
// happened, those before are still answered, and sessions go on. When the oldest are
// forgotten, some thousand with each entry, there is room again.
func TestAFloodOfOneShotsIsBounded(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, protocol.SessionTimeoutMax)
	first := l.noteAlone(1, 1, "first")
	for n := uint64(2); n <= protocol.OneShotsMax; n++ {
		if r := l.noteAlone(n, 1, "refuse"); !errors.Is(r.Err(), errRefused) {
			t.Fatalf("%d: %v", n, r.Err())
		}
	}
	over := l.noteAlone(1<<40, 1, "over")
	wantCode(t, "one over the limit", over, protocol.ErrOverloaded)
	if !strings.Contains(over.Text, fmt.Sprint(protocol.OneShotsMax)) {
		t.Errorf("got %q, want the limit in it", over.Text)
	}
	wantSame(t, "the first again", l.noteAlone(1, 1, "first"), first)
	if r := l.note(id, 1, 1, "session"); r.Err() != nil {
		t.Errorf("a session: %v", r.Err())
	}
	l.restart(t)
	wantCode(t, "after a start from a checkpoint", l.noteAlone(1<<40, 1, "over"), protocol.ErrOverloaded)

	l.time += protocol.ClusterTime(protocol.OneShotKept)
	if r := l.noteAlone(1<<40, l.m.Applied(), "over"); r.Err() != nil {
		t.Errorf("when some are forgotten: %v", r.Err())
	}
	if got, want := count(t, l.m, 'o'), protocol.OneShotsMax-protocol.OneShotExpiriesMax+1; got != want {
		t.Errorf("got %d one-shots, want %d", got, want)
	}
	if got, want := l.lines(t), []string{"first", "session", "over"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The answers that are kept are bounded too; one that no value can hold is not kept, and
// is said to be gone: the command does not run again.
func TestAnswersOfOneShotsAreBounded(t *testing.T) {
	l := newLocal(t, journal)
	if r := l.send(alone(1, 0, "big", protocol.ValueBytesMax)); len(r.Data) < protocol.ValueBytesMax {
		t.Fatalf("got %d bytes, %v", len(r.Data), r.Err())
	}
	wantCode(t, "an answer that is too long", l.send(alone(1, 0, "big", protocol.ValueBytesMax)), protocol.ErrAnswerLost)
	const large = protocol.ValueBytesMax - 100
	n, runs := uint64(2), 1
	for ; ; n++ {
		r := l.send(alone(n, 0, "big", large))
		if r.Err() != nil {
			wantCode(t, "over the limit", r, protocol.ErrOverloaded)
			break
		}
		if runs++; runs > protocol.OneShotsBytesMax/large+2 {
			t.Fatalf("%d answers of %d bytes are kept, the limit is %d", runs, large, protocol.OneShotsBytesMax)
		}
	}
	l.restart(t)
	if r := l.send(alone(2, 0, "big", large)); len(r.Data) < large || r.Err() != nil {
		t.Errorf("asked again: got %d bytes, %v", len(r.Data), r.Err())
	}
	if got := len(l.lines(t)); got != runs {
		t.Errorf("got %d executions, want %d", got, runs)
	}
}

// A one-shot that is refused when a cluster is recovered is not run when it comes again.
func TestRefusedOneShotIsNotRunWhenItIsSentAgain(t *testing.T) {
	l := newLocal(t, journal)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), Logger: slog.New(slog.DiscardHandler), Refuse: []protocol.Index{1}})
	for range 3 {
		wantCode(t, "refused", l.noteAlone(1, 0, "hangs"), protocol.ErrRefusedEntry)
	}
	if got := l.lines(t); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}

// A session that a type sees of a one-shot is nobody else's.
func TestTheSessionOfAOneShotIsItsEntry(t *testing.T) {
	who := resources.NewCommand("who", func(tx *resources.Tx, _ struct{}) (uint64, error) {
		return uint64(tx.Session()), lines.Put(tx, uint64(tx.Index()), "who")
	})
	l := newLocal(t, resources.NewType("journal", 1, who))
	l.open(t, 0)
	r := l.send(alone(1, 0, "who", struct{}{}))
	got, err := resources.ParseValue[uint64](r.Data)
	if err != nil || got != uint64(r.Index) {
		t.Errorf("got session %d, %v, want %d", got, err, r.Index)
	}
}

// What is wrong with the one-shots of a checkpoint is said, by itself and all together.
func TestOneShotsOfACheckpointAreNotTakenOnTrust(t *testing.T) {
	value := func(at, n uint64) []byte {
		b := binary.AppendUvarint(nil, at)
		m := number(n)
		return append(append(b, m[:]...), 0, 0)
	}
	key := func(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'o'}, i) }
	item := func(key, value []byte, i protocol.Index) machine.CheckpointItem {
		return machine.CheckpointItem{Key: key, Value: value, Index: i}
	}
	horizon := item([]byte{'h'}, []byte{7}, 8)
	for what, tt := range map[string]struct {
		items []machine.CheckpointItem
		want  *protocol.Error
	}{
		"sound":              {[]machine.CheckpointItem{horizon, item(key(8), value(5, 1), 8), item(key(9), value(5, 2), 9)}, nil},
		"no number":          {[]machine.CheckpointItem{item(key(8), value(5, 0), 8)}, protocol.ErrMalformed},
		"cut short":          {[]machine.CheckpointItem{item(key(8), value(5, 1)[:17], 8)}, protocol.ErrMalformed},
		"half an answer":     {[]machine.CheckpointItem{item(key(8), value(5, 1)[:18], 8)}, protocol.ErrMalformed},
		"of another index":   {[]machine.CheckpointItem{item(key(8), value(5, 1), 9)}, protocol.ErrMalformed},
		"horizon above":      {[]machine.CheckpointItem{item([]byte{'h'}, []byte{8}, 8)}, protocol.ErrMalformed},
		"horizon of nothing": {[]machine.CheckpointItem{item([]byte{'h'}, []byte{0}, 8)}, protocol.ErrMalformed},
		"forgotten":          {[]machine.CheckpointItem{horizon, item(key(7), value(5, 1), 7)}, protocol.ErrCorrupt},
		"twice":              {[]machine.CheckpointItem{item(key(8), value(5, 1), 8), item(key(9), value(5, 1), 9)}, protocol.ErrCorrupt},
		"time goes back":     {[]machine.CheckpointItem{item(key(8), value(5, 1), 8), item(key(9), value(4, 2), 9)}, protocol.ErrCorrupt},
	} {
		var err error
		l := newLocal(t).m.NewLoader()
		for _, one := range tt.items {
			if err == nil {
				err = l.Add(one)
			}
		}
		if err == nil {
			_, err = l.Finish(20)
		}
		if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", what, err, tt.want)
		}
	}
}

// Sessions and one-shots are apart: what is in a session is no one-shot.
func TestOneShotsTakeNoPlaceOfSessions(t *testing.T) {
	l := newLocal(t, journal)
	for n := range uint64(100) {
		l.noteAlone(n+1, 0, "x")
	}
	l.time += protocol.ClusterTime(time.Second)
	if r := l.send(sessionop.Open(0)); r.Err() != nil || l.m.Stats().Sessions != 1 {
		t.Errorf("got %d sessions, %v, want 1", l.m.Stats().Sessions, r.Err())
	}
}
