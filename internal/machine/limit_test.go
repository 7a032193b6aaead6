package machine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

const limited = 1 << 20

// limit applies a configuration with a limit of the state.
func (l *local) limit(t *testing.T, bytes int64) {
	t.Helper()
	c := protocol.Configuration{StateBytes: bytes}.With(protocol.ActiveMember{ID: protocol.MemberID{1}, Suffrage: protocol.SuffrageVoter})
	e := l.entry(protocol.EntryConfiguration, protocol.EncodeConfiguration(c))
	if r := l.m.Apply([]protocol.Entry{e}, nil); len(r) != 1 || r[0].Code != protocol.OK {
		t.Fatalf("a configuration: got %v, stopped: %v", r, l.m.Stopped())
	}
}

// store puts a value of so many bytes.
func (l *local) store(key string, size int) error {
	_, err := kvmap.Put.Do(context.Background(), l, "m", kvmap.PutRequest{Key: []byte(key), Value: make([]byte, size)})
	return err
}

func (l *local) remove(t *testing.T, key string) {
	t.Helper()
	if _, err := kvmap.Delete.Do(t.Context(), l, "m", kvmap.DeleteRequest{Key: []byte(key)}); err != nil {
		t.Errorf("a delete: %v", err)
	}
}

// fill puts values of 64 KiB until one is refused, and returns how many were not.
func (l *local) fill(t *testing.T, prefix string) (n int) {
	t.Helper()
	for ; n < 100; n++ {
		if err := l.store(fmt.Sprint(prefix, n), 64<<10); errors.Is(err, protocol.ErrStateFull) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("nothing is refused")
	return n
}

// What resources hold never passes the limit: a write beyond it has no effect and says so,
// what frees passes, and there is room again. A raised limit holds from its entry on, and
// none is none.
func TestTheStateStaysWithinItsLimit(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.limit(t, limited)
	n := l.fill(t, "a")
	held := l.m.Stats().Held
	if per := int64(64<<10 + 3 + protocol.KeyOverhead); held <= limited-per || held > limited || l.m.Stats().Limit != limited {
		t.Errorf("%d values of 64 KiB are %d bytes, of %d", n, held, l.m.Stats().Limit)
	}
	for _, step := range []struct {
		what, key string
		size      int
		refused   bool
	}{
		{"a value that grows", "a0", 128 << 10, true},
		{"a value that shrinks", "a0", 10, false},
		{"one that fits in what has become free", "a1", 65 << 10, false},
		{"one that does not", "a0", 130 << 10, true},
		{"a new one", "b", 128 << 10, true},
	} {
		if err := l.store(step.key, step.size); errors.Is(err, protocol.ErrStateFull) != step.refused || !step.refused && err != nil {
			t.Errorf("%s: got %v", step.what, err)
		}
	}
	l.remove(t, "a2")
	if err := l.store("b", 128<<10); err != nil {
		t.Errorf("a new one in the place of one that is gone: %v", err)
	}
	l.limit(t, 2*limited)
	if more := l.fill(t, "c"); more < n {
		t.Errorf("the limit was doubled, and %d more went in after %d", more, n)
	}
	l.limit(t, limited) // below what there is
	if err := l.store("d", 1); !errors.Is(err, protocol.ErrStateFull) {
		t.Errorf("above a limit that was lowered: got %v", err)
	}
	l.remove(t, "a3")
	l.limit(t, 0)
	for n := range 20 {
		if err := l.store(fmt.Sprint("e", n), 512<<10-10); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	}
}

// [S] Counterexample: members refuse by memory in use, or by what only those have counted
// that were there from the beginning. One that begins with a checkpoint refuses, and counts,
// what the others do, and has their digest at every index.
func TestWhoBeginsWithACheckpointRefusesWhatTheOthersDo(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.limit(t, limited)
	l.fill(t, "a")
	l.remove(t, "a3")
	again := &local{m: l.m, time: l.time, session: l.session, sequence: l.sequence}
	again.restart(t)
	same := func(what string) {
		t.Helper()
		if got, want := again.m.Stats(), l.m.Stats(); got.Held != want.Held || got.Limit != want.Limit || got.Digest != want.Digest {
			t.Fatalf("%s: got %+v, want %+v", what, got, want)
		}
	}
	same("the checkpoint")
	refused := 0
	for i, size := range []int{200 << 10, 120 << 10, 100, 80 << 10, 1, 90 << 10, 32 << 10} {
		key := fmt.Sprint("a", 3+i%3)
		one, other := l.store(key, size), again.store(key, size)
		if fmt.Sprint(one) != fmt.Sprint(other) {
			t.Errorf("%d bytes to %s: one answers %v, the other %v", size, key, one, other)
		}
		if errors.Is(one, protocol.ErrStateFull) {
			refused++
		}
		same(key)
	}
	if refused == 0 {
		t.Error("nothing was refused: nothing is proved")
	}
}

// What a command has written before it failed, or before it was refused, is not counted.
func TestWhatWasTakenBackIsNotCounted(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	if r := l.note(id, 1, 1, "one"); r.Code != protocol.OK {
		t.Fatal(r.Err())
	}
	want := l.m.Stats().Held
	for n, text := range []string{"refuse", "panic"} {
		if r := l.note(id, uint64(n+2), 1, text); r.Code == protocol.OK {
			t.Errorf("%s was not refused", text)
		}
		if got := l.m.Stats().Held; got != want {
			t.Errorf("after %s %d bytes are held, want %d", text, got, want)
		}
	}
}
