package resources_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/resourcetest"
)

var (
	readings = resources.NewTable[string, int]("readings")
	counts   = resources.NewTable[int, string]("counts")
	top      = resources.NewCell[int]("top")
	topmost  = resources.NewCell[string]("topmost")

	note = resources.NewCommand("note", func(tx *resources.Tx, r reading) (bool, error) {
		if r.Value < 0 {
			return top.Delete(tx), errors.Join(topmost.Set(tx, r.Name))
		}
		return readings.Delete(tx, "gone"), errors.Join(readings.Put(tx, r.Name, r.Value), counts.Put(tx, r.Value, r.Name), topmost.Set(tx, r.Name), top.Set(tx, r.Value))
	})
	meterType = resources.NewType("meter", 1, note)

	onReadings = resources.NewWatch(meterType, readings)
	onCounts   = resources.NewWatch(meterType, counts)
	onTop      = resources.NewWatch(meterType, top)
)

type reading struct {
	Name  string
	Value int
}

// heard returns what is told, in words, up to the first n events.
func heard[K, V any](t *testing.T, events iter.Seq2[resources.Event[K, V], error], n int) (out []string) {
	t.Helper()
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Join(strings.Fields(fmt.Sprintln(e.Kind, e.Key, e.Value, e.PreviousKind, e.Previous, e.Last)), " "))
		if len(out) == n {
			break
		}
	}
	return out
}

func TestWatchesOfTablesAndCells(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, meterType)
	previous := resources.WatchOptions{Previous: true}
	inTable, under := onReadings.Watch(ctx, c, "m", previous), onReadings.Watch(ctx, c, "m", resources.WatchOptions{Prefix: []byte("k")})
	byNumber, inCell := onCounts.Watch(ctx, c, "m", previous), onTop.Watch(ctx, c, "m", previous)
	for _, r := range []reading{{"k1", 1}, {"a", 2}, {"k1", 2}, {"", -1}, {"k2", 3}} {
		if _, err := note.Do(ctx, c, "m", r); err != nil {
			t.Fatal(err)
		}
	}
	for what, told := range map[string]struct{ got, want []string }{
		"a table":            {heard(t, inTable, 4), []string{"put k1 1 none 0 true", "put a 2 none 0 true", "put k1 2 value 1 true", "put k2 3 none 0 true"}},
		"keys with a prefix": {heard(t, under, 3), []string{"put k1 1 unknown 0 true", "put k1 2 unknown 0 true", "put k2 3 unknown 0 true"}},
		"numbers":            {heard(t, byNumber, 4), []string{"put 1 k1 none true", "put 2 a none true", "put 2 k1 value a true", "put 3 k2 none true"}},
		// Another cell has a name that begins alike; the one that is watched was deleted and made again.
		"a cell": {heard(t, inCell, 5), []string{"put {} 1 none 0 true", "put {} 2 value 1 true", "put {} 2 value 2 true", "delete {} 0 value 2 true", "put {} 3 none 0 true"}},
	} {
		if !slices.Equal(told.got, told.want) {
			t.Errorf("%s: got %q, want %q", what, told.got, told.want)
		}
	}
}

// Entries that change another cell alone, whose name begins alike, are bookmarks to a watch of this one, and of those
// there is one a second, however often that cell is written.
func TestAWatchOfACellPassesOverOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, c := context.Background(), resourcetest.NewCaller(t, meterType)
		events := onTop.Watch(ctx, c, "m", resources.WatchOptions{Bookmarks: true})
		write := func(r reading) {
			if _, err := note.Do(ctx, c, "m", r); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			write(reading{"x", -1})
		}
		write(reading{"x", 7})
		var got []resources.EventKind
		var last resources.Index
		for e, err := range events {
			if err != nil || e.Index < last {
				t.Fatalf("got %v of %d, %v, behind %d", e.Kind, e.Index, err, last)
			}
			got, last = append(got, e.Kind), e.Index
			if e.Kind == resources.EventPut && e.Value == 7 {
				time.Sleep(time.Second)
				write(reading{"x", -1}) // which deletes this one
				write(reading{"x", -1})
			}
			if len(got) == 4 {
				break
			}
		}
		if want := []resources.EventKind{resources.EventBookmark, resources.EventPut, resources.EventDelete, resources.EventBookmark}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// What cannot be watched is found when the program starts.
func TestWatchesOfNothingAreRefused(t *testing.T) {
	for what, make := range map[string]func(){
		"nil":          func() { resources.NewWatch[string, int](meterType, nil) },
		"a zero table": func() { resources.NewWatch(meterType, resources.Table[string, int]{}) },
		"a zero cell":  func() { resources.NewWatch(meterType, resources.Cell[int]{}) },
		"no functions": func() { resources.NewWatch(meterType, resources.Keys[string, int]{}) },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "a watch of") {
					t.Errorf("%s: got %s, want a sentence", what, r)
				}
			}()
			make()
		}()
	}
}

func TestWatchesThatCannotBegin(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, meterType)
	other := resources.NewType("other-meter", 1)
	var none *resources.Watch[string, int]
	for what, w := range map[string]struct {
		events iter.Seq2[resources.Event[string, int], error]
		want   error
	}{
		"nil":               {none.Watch(ctx, c, "m", resources.WatchOptions{}), protocol.ErrInvalid},
		"of no type":        {resources.NewWatch(nil, readings).Watch(ctx, c, "m", resources.WatchOptions{}), protocol.ErrInvalid},
		"nobody to ask":     {onReadings.Watch(ctx, nil, "m", resources.WatchOptions{}), protocol.ErrInvalid},
		"no name":           {onReadings.Watch(ctx, c, "", resources.WatchOptions{}), protocol.ErrInvalid},
		"a type not there":  {resources.NewWatch(other, readings).Watch(ctx, c, "m", resources.WatchOptions{}), protocol.ErrUnknownType},
		"a prefix too long": {onReadings.Watch(ctx, c, "m", resources.WatchOptions{Prefix: make([]byte, protocol.KeyBytesMax)}), protocol.ErrTooLarge},
	} {
		for _, err := range w.events {
			if !errors.Is(err, w.want) {
				t.Errorf("%s: got %v, want %v", what, err, w.want)
			}
		}
	}
	for _, err := range onCounts.Watch(ctx, c, "m", resources.WatchOptions{Prefix: []byte("1")}) {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("a prefix of numbers: got %v", err)
		}
	}
	for _, err := range onTop.Watch(ctx, c, "m", resources.WatchOptions{Prefix: []byte("t")}) {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("a prefix of a cell: got %v", err)
		}
	}
}

// What cannot be read is said of the one element, and whether it is what that was before.
func TestWatchesNameWhatCannotBeRead(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, meterType)
	words := resources.NewWatch(meterType, resources.NewTable[string, string]("readings")) // they are numbers
	number := resources.NewWatch(meterType, resources.NewTable[int, int]("readings"))      // with keys that are strings
	strange, keys := words.Watch(ctx, c, "m", resources.WatchOptions{}), number.Watch(ctx, c, "m", resources.WatchOptions{})
	if _, err := note.Do(ctx, c, "m", reading{"k", 5}); err != nil {
		t.Fatal(err)
	}
	bad := func(_ any, err error) *resources.DecodeError {
		var out *resources.DecodeError
		if !errors.As(err, &out) || !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("got %v, want a DecodeError", err)
		}
		return out
	}
	for e, err := range strange {
		if got := bad(e, err); string(got.Key) != "k" || got.Previous || e.Key != "k" || !strings.Contains(err.Error(), `meter "m", key "k", read as string`) {
			t.Errorf("got %+v of %+v", got, e)
		}
		break
	}
	for e, err := range keys {
		if got := bad(e, err); string(got.Key) != "k" {
			t.Errorf("got %+v", got)
		}
		break
	}
}

// A loop that takes where to go on from before it looks at the error would begin at the largest index that there is,
// and be told nothing for ever.
func TestNothingResumesAtTheEndOfAllIndexes(t *testing.T) {
	for e, err := range onReadings.Watch(t.Context(), nil, "m", resources.WatchOptions{}) {
		if err == nil || e.Resume() != 0 {
			t.Errorf("got %v, to go on from %d, want an error and 0", err, e.Resume())
		}
	}
}
