package starling_test

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling"
)

// Each write of each handle tells where it was applied, also one that was refused there, and indexes grow.
func TestEveryWriteTellsItsIndex(t *testing.T) {
	cluster := single()
	defer cluster.Close()
	ctx, c := t.Context(), cluster.Client
	m, q, n := starling.NewMap[string, int](c, "m"), starling.NewQueue[int](c, "q"), starling.NewCounter(c, "n")
	last := starling.Index(0)
	for _, write := range []struct {
		what string
		do   func(o starling.WriteOption) error
	}{
		{"Map.Put", func(o starling.WriteOption) error { return m.Put(ctx, "k", 1, o) }},
		{"Map.PutIf, refused", func(o starling.WriteOption) error {
			if _, err := m.PutIf(ctx, "k", 2, 0, o); !errors.Is(err, starling.ErrConditionFailed) {
				return err
			}
			return nil
		}},
		{"Map.Delete", func(o starling.WriteOption) error { _, err := m.Delete(ctx, "k", o); return err }},
		{"Map.DeleteIf", func(o starling.WriteOption) error { return m.DeleteIf(ctx, "k", 0, o) }},
		{"Queue.Push", func(o starling.WriteOption) error { return q.Push(ctx, 1, o) }},
		{"Queue.Pop", func(o starling.WriteOption) error { _, err := q.Pop(ctx, o); return err }},
		{"Queue.Skip", func(o starling.WriteOption) error {
			if _, err := q.Skip(ctx, 1, o); !errors.Is(err, starling.ErrNotFound) {
				return err
			}
			return nil
		}},
		{"Counter.Add", func(o starling.WriteOption) error { _, err := n.Add(ctx, 1, o); return err }},
		{"Counter.Set", func(o starling.WriteOption) error { _, err := n.Set(ctx, 5, o); return err }},
		{"Counter.CompareAndSet", func(o starling.WriteOption) error { _, err := n.CompareAndSet(ctx, 5, 6, o); return err }},
		{"Delete", func(o starling.WriteOption) error { _, err := starling.Delete(ctx, c, "n", o); return err }},
	} {
		var info starling.Info
		if err := write.do(starling.WithInfo(&info)); err != nil {
			t.Errorf("%s: %v", write.what, err)
		}
		if info.Index <= last || info.Index > c.Seen() {
			t.Errorf("%s was applied at %d, the one before at %d, and up to %d is seen", write.what, info.Index, last, c.Seen())
		}
		last = info.Index
	}
}

// Two levels for one read are refused by each read of each handle, before anything is asked.
func TestConflictingLevelsAreRefused(t *testing.T) {
	cluster := single()
	defer cluster.Close()
	ctx, c := context.Background(), cluster.Client
	m, q, n := starling.NewMap[string, int](c, "m"), starling.NewQueue[int](c, "q"), starling.NewCounter(c, "n")
	opts := []starling.ReadOption{starling.Linearizable, starling.Locally}
	_, get := m.Get(ctx, "k", opts...)
	_, entry := m.GetEntry(ctx, "k", opts...)
	_, length := m.Len(ctx, opts...)
	_, peek := q.Peek(ctx, opts...)
	_, queued := q.Len(ctx, opts...)
	_, number := n.Get(ctx, opts...)
	for what, err := range map[string]error{"Map.Get": get, "GetEntry": entry, "Map.Len": length, "Peek": peek, "Queue.Len": queued, "Counter.Get": number} {
		if !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", what, err)
		}
	}
	var told []error
	for _, err := range m.Scan(ctx, starling.Range[string]{}, opts...) {
		told = append(told, err)
	}
	if len(told) != 1 || !errors.Is(told[0], starling.ErrInvalid) {
		t.Errorf("Scan: got %v, want ErrInvalid alone", told)
	}
	told = nil
	for _, err := range m.Follow(ctx, starling.FollowOptions{}, opts...) {
		told = append(told, err)
	}
	if len(told) != 1 || !errors.Is(told[0], starling.ErrInvalid) {
		t.Errorf("Follow: got %v, want ErrInvalid alone", told)
	}
}
