package starling_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// TestPreviousValuesAtEveryMember: over a client, an active and a passive, as it is and
// after a resume at each other one.
func TestPreviousValuesAtEveryMember(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		var before starling.Info
		if _, err := m.Len(ctx, starling.WithInfo(&before)); err != nil {
			t.Fatal(err)
		}
		now := m.Watch(ctx, starling.WatchOptions{Previous: true})
		_, missing := m.Delete(ctx, "k")
		put := errors.Join(missing, m.Put(ctx, "k", 1), m.Put(ctx, "k", 0), m.Put(ctx, "other", 7))
		_, gone := m.Delete(ctx, "k")
		if err := errors.Join(put, gone, m.Put(ctx, "k", 2)); err != nil {
			t.Fatal(err)
		}
		want := []string{"put k 1 none 0", "put k 0 value 1", "put other 7 none 0", "delete k 0 value 0", "put k 2 none 0"}
		for elsewhere, o := range callers(cluster) {
			events := now
			if elsewhere != name {
				events = starling.NewMap[string, int](o, "m-"+name).Watch(ctx, starling.WatchOptions{After: before.Index, Previous: true})
			}
			var got []string
			for e, err := range events {
				if err != nil {
					t.Fatalf("%s at %s: %v", name, elsewhere, err)
				}
				if got = append(got, fmt.Sprintf("%v %v %d %v %d", e.Kind, e.Key, e.Value, e.PreviousKind, e.Previous)); len(got) == len(want) {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s at %s: got %q, want %q", name, elsewhere, got, want)
			}
		}
	}
}

// A change of the largest value to another one is told with both, and so is an entry of the most
// that one command can write, which replaces as much.
func TestTheLargestPreviousValues(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	m := starling.NewMap[string, starling.Raw](cluster.Client, "m")
	value := func(fill byte) starling.Raw {
		raw, _ := resources.AppendValue(nil, bytes.Repeat([]byte{fill}, protocol.ValueBytesMax-8))
		return raw
	}
	events := m.Watch(ctx, starling.WatchOptions{Previous: true})
	several := func(fill byte) error {
		var pairs kvmap.Pairs
		for _, k := range []string{"a", "b"} {
			pairs = append(pairs, kvmap.Pair{Key: kvmap.AppendKey(nil, k), Value: bytes.Repeat([]byte{fill}, 500<<10)})
		}
		_, err := kvmap.PutAll.Do(ctx, cluster.Client, "m", pairs)
		return err
	}
	if err := errors.Join(m.Put(ctx, "k", value('a')), m.Put(ctx, "k", value('b')), several('c'), several('d')); err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		if e.PreviousKind == starling.PreviousValue {
			got = append(got, fmt.Sprintf("%s: %d %c was %d %c, last %v", e.Key, len(e.Value), e.Value[len(e.Value)-1], len(e.Previous), e.Previous[len(e.Previous)-1], e.Last))
		}
		if len(got) == 3 {
			break
		}
	}
	most := protocol.ValueBytesMax - 3
	if want := []string{fmt.Sprintf("k: %d b was %d a, last true", most, most), "a: 512000 d was 512000 c, last false", "b: 512000 d was 512000 c, last true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWatchesOfCounters(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	for name, c := range callers(cluster) {
		hits := starling.NewCounter(c, "hits-"+name)
		events := hits.Watch(ctx, starling.WatchOptions{Previous: true})
		for range 2 {
			if _, err := hits.Add(ctx, 5); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for e, err := range events {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got = append(got, fmt.Sprint(e.Kind, e.Value, e.PreviousKind, e.Previous)); e.Value == 10 {
				break
			}
		}
		if want := []string{fmt.Sprint(starling.EventPut, 5, starling.PreviousNone, 0), fmt.Sprint(starling.EventPut, 10, starling.PreviousValue, 5)}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var none *starling.Counter
	for _, err := range none.Watch(ctx, starling.WatchOptions{}) {
		if !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("a handle that nobody made: got %v", err)
		}
	}
}

// A previous value that is of another type is named, and the change comes all the same.
func TestAPreviousValueOfAnotherType(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	texts, numbers := starling.NewMap[string, string](cluster.Client, "m"), starling.NewMap[string, int](cluster.Client, "m")
	events := numbers.Watch(ctx, starling.WatchOptions{Previous: true})
	if err := errors.Join(texts.Put(ctx, "k", "x"), numbers.Put(ctx, "k", 1), numbers.Put(ctx, "k", 2), texts.Put(ctx, "k", "y")); err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range events {
		var bad *starling.DecodeError
		switch n++; {
		case n == 1 && (!errors.As(err, &bad) || bad.Previous):
			t.Errorf("the text: got %+v, %v", e, err)
		case n == 2 && (!errors.As(err, &bad) || !bad.Previous || string(bad.Value) != "\xa1x" || e.Value != 1 || e.Kind != starling.EventPut):
			t.Errorf("the number that replaces it: got %+v, %v", e, err)
		case n == 3 && (err != nil || e.Previous != 1 || e.Value != 2):
			t.Errorf("the next one: got %+v, %v", e, err)
		case n == 4 && (!errors.As(err, &bad) || bad.Previous || e.PreviousKind != starling.PreviousValue || e.Previous != 2):
			t.Errorf("the text again: got %+v, %v, want that it was 2", e, err)
		case n < 3 && (e.PreviousKind == starling.PreviousValue || e.Previous != 0):
			t.Errorf("event %d says that it was %d", n, e.Previous)
		}
		if n == 4 {
			break
		}
	}
}

var (
	gauges   = resources.NewTable[int, string]("gauges")
	latest   = resources.NewCell[string]("latest")
	setGauge = resources.NewCommand("set", func(tx *resources.Tx, text string) (bool, error) {
		return true, errors.Join(gauges.Put(tx, len(text), text), latest.Set(tx, text))
	})
	gaugeType = resources.NewType("gauge", 1, setGauge)
	onGauges  = resources.NewWatch(gaugeType, gauges)
	onLatest  = resources.NewWatch(gaugeType, latest)
)

// TestWatchesOfOwnTypesAtEveryMember: tables and cells of a type of one's own are watched over a
// client, an active and a passive.
func TestWatchesOfOwnTypesAtEveryMember(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1, Types: []*starling.Type{gaugeType}})
	for name, c := range callers(cluster) {
		table := onGauges.Watch(ctx, c, name, resources.WatchOptions{Previous: true})
		cell := onLatest.Watch(ctx, c, name, resources.WatchOptions{Previous: true, Bookmarks: true})
		for _, text := range []string{"one", "two"} {
			if _, err := setGauge.Do(ctx, c, name, text); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for e, err := range table {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, fmt.Sprint(e.Key, e.Value, e.PreviousKind, e.Previous)); e.Value == "two" {
				break
			}
		}
		var resume starling.Index
		for e, err := range cell {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind != resources.EventBookmark {
				got = append(got, fmt.Sprint(e.Value, e.PreviousKind, e.Previous))
			}
			if resume = e.Resume(); e.Value == "two" {
				break
			}
		}
		if want := []string{"3onenone", "3twovalueone", "onenone", "twovalueone"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if _, err := resources.Delete(ctx, c, name, ""); err != nil {
			t.Fatal(err)
		}
		for e, err := range onLatest.Watch(ctx, c, name, resources.WatchOptions{After: resume, Previous: true}) {
			if err != nil || e.Kind != resources.EventDelete || e.Previous != "two" {
				t.Errorf("%s: the resource is deleted: got %+v, %v", name, e, err)
			}
			break
		}
	}
}
