package starling_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// What one command may write comes over the wire in several parts, and is told as a
// whole. A watch that begins before it gets past it, wherever it begins again.
// TestDeletingMoreThanAFrame has an entry that is larger than a frame.
func TestEntryOfSeveralPartsPassesAWatch(t *testing.T) {
	const values, valueBytes = 5, 400 << 10
	fill := resources.NewCommand("fill", func(tx *resources.Tx, letter byte) (int, error) {
		for i := range values {
			if err := tx.Set(fmt.Appendf(nil, "k%02d", i), bytes.Repeat([]byte{letter}, valueBytes)); err != nil {
				return 0, err
			}
		}
		return values, nil
	})
	kind := resources.NewType("filled", 1, fill)
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Types: []*starling.Type{kind}})
	var before starling.Info
	if _, err := fill.Do(ctx, cluster.Client, "r", 'a', starling.WithInfo(&before)); err != nil {
		t.Fatal(err)
	}
	if _, err := fill.Do(ctx, cluster.Client, "r", 'b'); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, err := cluster.Client.Watch(ctx, protocol.Watch{Resource: "r", Type: "filled", From: protocol.Index(before.Index)})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := w.Next(ctx); err != nil || len(c.Changes) != 0 {
			t.Fatalf("got %d changes, %v, want where it begins", len(c.Changes), err)
		}
		c, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Changes) != values || c.More {
			t.Errorf("got %d changes at once, more: %t, want all %d", len(c.Changes), c.More, values)
		}
		for i, change := range c.Changes {
			if want := fmt.Sprintf("k%02d", i); string(change.Key) != want || len(change.Value) != valueBytes || change.Value[0] != 'b' {
				t.Errorf("got %q with %d bytes, want %q with %d", change.Key, len(change.Value), want, valueBytes)
			}
		}
		w.Close()
	}
}
