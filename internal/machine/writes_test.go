package machine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/resourcetest"
)

// What one command writes is bounded, in keys and in bytes; what is over has no effect
// on any member, also if its code looks away.
func TestWhatOneCommandWritesIsBounded(t *testing.T) {
	type load struct {
		From, Keys, Bytes  int
		Deletes, LooksAway bool
	}
	rows := resources.NewTable[string, []byte]("rows")
	write := resources.NewCommand("write", func(tx *resources.Tx, l load) (int, error) {
		for i := range l.Keys {
			key := fmt.Sprintf("%08d", l.From+i)
			if l.Deletes {
				rows.Delete(tx, key)
			} else if err := rows.Put(tx, key, make([]byte, l.Bytes)); err != nil && !l.LooksAway {
				return 0, err
			}
		}
		return l.Keys, nil
	})
	size := resources.NewQuery("size", func(v *resources.View, _ struct{}) (int, error) { return v.Len(), nil })
	typ := resources.NewType("writer", 1, write, size)
	const around = 1 + len("rows") + 1 + 8 + 5 // key, head of the value
	const half = 512<<10 - 64
	for name, c := range map[string]struct {
		load
		fails bool
	}{
		"most keys":              {load{Keys: protocol.CommandWritesMax}, false},
		"a key too many":         {load{Keys: protocol.CommandWritesMax + 1}, true},
		"most bytes":             {load{Keys: 4, Bytes: half}, false},
		"bytes too many":         {load{Keys: 5, Bytes: half}, true},
		"60 MB":                  {load{Keys: 120, Bytes: half}, true},
		"60 MB, looking away":    {load{Keys: 120, Bytes: half, LooksAway: true}, true},
		"to the byte":            {load{Keys: 8, Bytes: protocol.CommandWrittenBytesMax/8 - around}, false},
		"a byte more":            {load{Keys: 8, Bytes: protocol.CommandWrittenBytesMax/8 - around + 1}, true},
		"most deletions":         {load{Keys: protocol.CommandWritesMax, Deletes: true}, false},
		"a deletion too many":    {load{Keys: protocol.CommandWritesMax + 1, Deletes: true}, true},
		"keys, and looking away": {load{Keys: protocol.CommandWritesMax + 7, LooksAway: true}, true},
	} {
		ctx, caller := context.Background(), resourcetest.NewCaller(t, typ)
		if _, err := write.Do(ctx, caller, "r", load{Keys: 3, Bytes: 1}); err != nil {
			t.Fatal(err)
		}
		n, err := write.Do(ctx, caller, "r", c.load)
		left, _ := size.Do(ctx, caller, "r", struct{}{})
		if c.fails {
			if !errors.Is(err, protocol.ErrTooLarge) || n != 0 || left != 3 {
				t.Errorf("%s: got %d, %v, and %d keys, want too_large and the 3 that were there", name, n, err, left)
			}
			continue
		}
		if err != nil || n != c.Keys || !c.Deletes && left != c.Keys || c.Deletes && left != 0 {
			t.Errorf("%s: got %d, %v, and %d keys", name, n, err, left)
		}
	}
	// An instance as a whole is deleted however much it holds.
	ctx, caller := context.Background(), resourcetest.NewCaller(t, typ)
	for _, from := range []int{0, protocol.CommandWritesMax} {
		if _, err := write.Do(ctx, caller, "r", load{From: from, Keys: protocol.CommandWritesMax}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := size.Do(ctx, caller, "r", struct{}{}); n != 2*protocol.CommandWritesMax {
		t.Errorf("%d keys are there", n)
	}
	if there, err := resources.Delete(ctx, caller, "r", ""); !there || err != nil {
		t.Errorf("deleting an instance of more keys than a command may write: got %v, %v", there, err)
	}
}
