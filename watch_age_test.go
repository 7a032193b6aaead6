package starling_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// oneEntry is a caller whose map is empty at index 1, and whose watch tells three changes of one entry.
type oneEntry struct{ resources.Caller }

func (oneEntry) Query(context.Context, protocol.Query) (protocol.Result, error) {
	data, err := kvmap.Page{}.AppendRaw(nil)
	return protocol.Result{Index: 1, Data: data}, err
}

func (oneEntry) Watch(context.Context, protocol.Watch) (resources.WatchStream, error) {
	return &entryStream{}, nil
}

type entryStream struct{ said int }

func (s *entryStream) Next(ctx context.Context) (protocol.Changes, error) {
	c := protocol.Changes{Index: 1, AgeKnown: true, Age: int64(time.Second)}
	switch s.said++; s.said {
	case 1:
	case 2:
		c.Index = 2
		for _, key := range []string{"a", "b", "c"} {
			c.Changes = append(c.Changes, protocol.Change{Kind: protocol.ChangeDelete, Key: kvmap.AppendKey(nil, key)})
		}
	default:
		<-ctx.Done()
		return c, ctx.Err()
	}
	return c, nil
}

func (s *entryStream) Close() {}

// [S] An age is of when its event comes to the loop, not of when the entry came that it is part of:
// a loop that took ten seconds for each of three keys was told that all it had was a second old.
func TestALoopThatTakesItsTimeWithAnEntryGrowsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, want := starling.NewMap[string, string](oneEntry{}, "m"), time.Second
		look := func(what string, last bool, age time.Duration, known bool) (more bool) {
			if age != want || !known {
				t.Errorf("%s: got an age of %v (known: %v), want %v", what, age, known, want)
			}
			<-time.After(10 * time.Second)
			if want += 10 * time.Second; last {
				want = time.Second
			}
			return !last
		}
		for e, err := range m.Watch(t.Context(), starling.WatchOptions{After: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			if !look("watch", e.Last, e.Age, e.AgeKnown) {
				break
			}
		}
		for e, err := range m.Follow(t.Context(), starling.FollowOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == starling.FollowDelete && !look("copy", e.Last, e.Age, e.AgeKnown) {
				break
			}
		}
	})
}
