package state

import (
	"encoding/binary"
	"testing"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// number is a mutable value.
type number struct{ is, index protocol.Index }

func (n *number) Copy() Mutable { next := *n; return &next }

func (n *number) AppendTo(dst []byte) []byte {
	return binary.AppendUvarint(dst, uint64(n.is))
}

func (n *number) Size() int { return 8 }

func (n *number) Index() protocol.Index { return n.index }

func (n *number) Digest() Digest { return Digest{uint64(n.is), uint64(n.index)} }

// set is what an entry makes of a number.
func (n *number) set(s *State, to protocol.Index) {
	less := n.Digest()
	n.is, n.index = to, s.index
	s.AmendDigest(less, n.Digest())
}

// told is the number that a snapshot has, and its index, by All and by what has changed since the
// one before.
func told(t *testing.T, s *Snapshot) (is, index protocol.Index, changed int) {
	t.Helper()
	for item := range s.All() {
		n, _ := binary.Uvarint(item.Value)
		is, index = protocol.Index(n), item.Index
	}
	for _, base := range s.Bases()[:1] {
		changes, _ := s.Changed(base)
		for item := range changes {
			if n, _ := binary.Uvarint(item.Value); !item.Deleted && (protocol.Index(n) != is || item.Index != index) {
				t.Errorf("changed to %d at %d, and is %d at %d", n, item.Index, is, index)
			}
			changed++
		}
	}
	return is, index, changed
}

// A snapshot has what a mutable value was at its index, whatever is changed meanwhile, and tells of it once
// if it has changed since the one before.
func TestASnapshotKeepsAMutableValue(t *testing.T) {
	s := New(true)
	entry := func(write func()) {
		s.Begin(s.index + 1)
		write()
		s.End(0, ignore)
		if got := s.Recount(); got != s.digest {
			t.Fatalf("at %d: got digest %v, counted %v", s.index, s.digest, got)
		}
	}
	var r *Record
	change := func(to protocol.Index) {
		entry(func() { s.Change(s.system, r).(*number).set(s, to) })
	}
	entry(func() { r = s.SetMutable(s.system, []byte("n"), &number{is: 7, index: s.index}) })
	s.Snapshot().Close()
	change(8)
	change(9)
	first := s.Snapshot()
	change(10)
	second := s.Snapshot()
	third := s.Snapshot()
	entry(func() { s.Remove(s.system, []byte("n")) })
	for k, want := range []struct {
		of      *Snapshot
		is      protocol.Index
		index   protocol.Index
		changed int
	}{{first, 9, 3, 1}, {second, 10, 4, 1}, {third, 10, 4, 0}, {s.Snapshot(), 0, 0, 1}} {
		if is, index, changed := told(t, want.of); is != want.is || index != want.index || changed != want.changed {
			t.Errorf("snapshot %d: got %d of %d, %d changes, want %d of %d, %d", k, is, index, changed, want.is, want.index, want.changed)
		}
		if counted, _ := want.of.Recount(); counted != want.of.Digest() {
			t.Errorf("snapshot %d: got digest %v, counted %v", k, want.of.Digest(), counted)
		}
		want.of.Close()
	}
	if s.digest != (Digest{}) {
		t.Errorf("got digest %v of nothing", s.digest)
	}
}

// Nothing but the digest is touched by a change after the first one behind a snapshot.
func TestAMutableValueChangesInPlace(t *testing.T) {
	s := New(true)
	s.Begin(1)
	r := s.SetMutable(s.system, []byte("n"), &number{is: 1, index: 1})
	s.End(0, ignore)
	allocations := testing.AllocsPerRun(1000, func() {
		s.Begin(s.index + 1)
		s.Change(s.system, r).(*number).set(s, s.index)
		s.End(0, ignore)
	})
	if allocations != 0 {
		t.Errorf("got %v allocations, want none", allocations)
	}
}

func TestMutableValuesAreNotTakenBack(t *testing.T) {
	s := New(false)
	s.Begin(1)
	s.SetMutable(s.system, []byte("n"), &number{is: 1, index: 1})
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Error("a change of a mutable value was taken back")
		}
	}()
	s.Rollback(0)
}
