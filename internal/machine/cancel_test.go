package machine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// A query whose caller has gone stops at its next read, whichever that is, and
// fails whatever it makes of the error.
func TestQueryStopsAtItsNextReadWhenItsContextEnds(t *testing.T) {
	table := resources.NewTable[string, int]("numbers")
	reads := map[string]func(*resources.View) error{
		"get":    func(v *resources.View) error { _, _, err := v.Get([]byte("k")); return err },
		"lookup": func(v *resources.View) error { _, _, err := v.Lookup([]byte("k")); return err },
		"scan": func(v *resources.View) error {
			for _, err := range v.Scan(nil, nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"table": func(v *resources.View) error { _, _, err := table.Get(v, "k"); return err },
		"err":   func(v *resources.View) error { return v.Err() },
	}
	for name, read := range reads {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var before, after error
		fill := resources.NewCommand("fill", func(tx *resources.Tx, _ struct{}) (struct{}, error) {
			return struct{}{}, table.Put(tx, "k", 1)
		})
		swallows := resources.NewQuery("swallows", func(v *resources.View, _ struct{}) (string, error) {
			before = read(v)
			cancel()
			after = read(v)
			return "a part of the answer", nil
		})
		l := newLocal(t, resources.NewType("numbers", 1, fill, swallows))
		if _, err := fill.Do(t.Context(), l, "n", struct{}{}); err != nil {
			t.Fatal(err)
		}
		answer, err := swallows.Do(ctx, l, "n", struct{}{})
		if before != nil || !errors.Is(after, context.Canceled) {
			t.Errorf("%s: got %v before and %v after the end, want nil and %v", name, before, after, context.Canceled)
		}
		if answer != "" || !errors.Is(err, protocol.ErrUnavailable) {
			t.Errorf("%s: got %q, %v, want %v", name, answer, err, protocol.ErrUnavailable)
		}
	}
}
