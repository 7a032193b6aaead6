package starling

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// relistMax is how many listings in a row Follow makes that are too old before a
// single change has come, until it gives up.
const relistMax = 8

// FollowKind says what a FollowEvent tells.
type FollowKind uint8

const (
	// FollowReset begins a listing: forget what was told before.
	FollowReset FollowKind = 1
	// FollowPut is a key with its value, of a listing or put since.
	FollowPut FollowKind = 2
	// FollowDelete is a key that is gone.
	FollowDelete FollowKind = 3
	// FollowListed ends a listing: what has been told since FollowReset is the state of the map
	// at Index, all of it and nothing later. What follows are changes.
	FollowListed FollowKind = 4
	// FollowBookmark is no change: the copy is the state of the map at Index. It comes about
	// once a second while nothing else does.
	FollowBookmark FollowKind = 5
)

// String returns the kind's name.
func (k FollowKind) String() string {
	return protocol.EnumText(k, "kind", "", "reset", "put", "delete", "listed", "bookmark")
}

// FollowEvent is one step of a copy of a map that is kept.
type FollowEvent[K Key, V any] struct {
	Kind  FollowKind
	Key   K // of FollowPut and FollowDelete
	Value V // of FollowPut
	// Index is where the key was written; of FollowListed, see there; of
	// FollowReset 0.
	Index Index
	// Last says of a change after the listing that no other one of its index follows:
	// the copy is the state of the map at Index.
	Last bool
	// Age of what comes after the listing, if AgeKnown, is an upper bound on how old the copy
	// was when this came: no write acknowledged longer ago is missing.
	Age      time.Duration
	AgeKnown bool
}

// FollowOptions say what of a map is followed.
type FollowOptions struct {
	// Prefix is what the keys begin with; see WatchOptions. Default: all keys.
	Prefix []byte
	// Bookmarks has Follow yield events of the kind FollowBookmark, too.
	Bookmarks bool
}

// Follow yields what is needed to keep a copy of a map: FollowReset, each key
// with its value, FollowListed, then every change, in order, without gaps or
// duplicates, and per key never backwards. A listing is read in pages, each at its own index;
// what was written between them comes before FollowListed, as puts and deletes. When changes are missed, because
// nobody holds them any more or because the loop did not keep up, it does not
// end as Watch does: it lists again, from FollowReset on. What cannot be read comes
// with a [DecodeError], Kind and Index, and what follows it comes: the copy lacks
// that key, or has an old value of it. Any other error is the last that it yields:
// the context's, or ErrCompacted or ErrSlowWatcher if several listings in a row were
// too slow to go on from.
//
// Options are for the listing, which is read at the level Session unless they
// say otherwise.
func (m *Map[K, V]) Follow(ctx context.Context, o FollowOptions, opts ...ReadOption) iter.Seq2[FollowEvent[K, V], error] {
	return func(yield func(FollowEvent[K, V], error) bool) {
		prefix, err := kvmap.EncodePrefix[K](o.Prefix)
		f := &follower[K, V]{m: m, o: o, prefix: prefix, opts: append([]ReadOption{resources.Otherwise(protocol.Session)}, opts...), yield: yield}
		if err == nil {
			_, name := m.target()
			w := protocol.Watch{Resource: name, Type: kvmap.Type.Name(), Prefix: prefix}
			err = w.Validate()
		}
		if err != nil {
			yield(FollowEvent[K, V]{}, err) // not after a listing of nothing
			return
		}
		for tries := 1; ; tries++ {
			err := f.list(ctx)
			if err == nil {
				err = f.changes(ctx)
			}
			if errors.Is(err, errEnough) {
				return
			}
			if f.moved {
				f.moved, tries = false, 1
			}
			if missed := errors.Is(err, ErrCompacted) || errors.Is(err, ErrSlowWatcher); !missed || tries == relistMax {
				yield(FollowEvent[K, V]{}, err)
				return
			}
		}
	}
}

// errEnough says that the loop over a follower has ended.
var errEnough = errors.New("enough")

// follower is one run of Follow.
type follower[K Key, V any] struct {
	m      *Map[K, V]
	o      FollowOptions
	prefix []byte // as the map holds it
	opts   []ReadOption
	yield  func(FollowEvent[K, V], error) bool
	pages  []listed
	listed bool // the listing is complete
	moved  bool // a change has come since
}

// listed is a piece of the key space, from the one before on, and where it was
// read.
type listed struct {
	next  []byte // the first key of the next piece; empty: there is none
	index Index
}

func (f *follower[K, V]) tell(e FollowEvent[K, V], err error) error {
	if err != nil && !ofOneElement(err) {
		return err
	}
	if !f.yield(e, err) {
		return errEnough
	}
	return nil
}

// list tells all keys, and notes which were read where. What was told before is of no use
// once a page is there, and not before: who keeps a copy has it for as long as nobody answers.
func (f *follower[K, V]) list(ctx context.Context) (err error) {
	f.pages, f.listed = nil, false
	p := kvmap.Prefix(f.prefix)
	request := kvmap.ScanRequest{From: p.From, To: p.To, Limit: kvmap.PageItemsDefault}
	for err == nil {
		var info Info
		caller, name := f.m.target()
		page, failed := kvmap.Scan.Do(ctx, caller, name, request, append(f.opts, WithInfo(&info))...)
		if failed != nil {
			return failed
		}
		if len(f.pages) == 0 {
			err = f.tell(FollowEvent[K, V]{Kind: FollowReset}, nil)
		}
		if n := len(f.pages); n > 0 && f.pages[n-1].index == info.Index {
			f.pages[n-1].next = page.Next
		} else {
			f.pages = append(f.pages, listed{page.Next, info.Index})
		}
		for i := 0; i < len(page.Items) && err == nil; i++ {
			e, bad := f.m.entryOf(page.Items[i])
			err = f.tell(FollowEvent[K, V]{Kind: FollowPut, Key: e.Key, Value: e.Value, Index: e.Version}, bad)
		}
		if len(page.Next) == 0 {
			break
		}
		request.From = page.Next
	}
	return err
}

// span is the lowest and the highest index at which a page was read.
func (f *follower[K, V]) span() (least, most Index) {
	least = f.pages[0].index
	for _, p := range f.pages {
		least, most = min(least, p.index), max(most, p.index)
	}
	return least, most
}

// changes tells what was written after the listing, or rather after its first page. With
// everything up to its last page the listing is complete: the keys of each page have moved
// on to one index.
func (f *follower[K, V]) changes(ctx context.Context) error {
	least, most := f.span()
	for e, err := range f.m.Watch(ctx, WatchOptions{Prefix: f.o.Prefix, After: least, Bookmarks: true}) {
		if err := f.step(&e, err, most); err != nil {
			return err
		}
	}
	return errEnough // not reached: a watch ends with an error
}

// step takes what the watch after a listing tells.
func (f *follower[K, V]) step(e *MapEvent[K, V], bad error, most Index) (err error) {
	if bad != nil && !ofOneElement(bad) {
		return bad
	}
	if !f.listed && e.Index > most {
		err = f.complete(most)
	}
	if err == nil && e.Kind != EventBookmark && (f.listed || e.Index > f.readAt(storedKey(e, bad))) { // else the listing has it
		f.moved = f.moved || f.listed
		step := FollowEvent[K, V]{Kind: FollowPut, Key: e.Key, Value: e.Value, Index: e.Index}
		if e.Kind == EventDelete {
			step.Kind = FollowDelete
		}
		if f.listed {
			step.Last, step.Age, step.AgeKnown = e.Last, e.Age, e.AgeKnown
		}
		err = f.tell(step, bad)
	}
	if err == nil && !f.listed && e.Index == most && e.Last {
		err = f.complete(most)
	}
	if err == nil && f.listed && f.o.Bookmarks && e.Kind == EventBookmark {
		err = f.tell(FollowEvent[K, V]{Kind: FollowBookmark, Index: e.Index, Last: true, Age: e.Age, AgeKnown: e.AgeKnown}, nil)
	}
	return err
}

// complete says that the copy is the state of the map at an index.
func (f *follower[K, V]) complete(at Index) error {
	f.listed = true
	return f.tell(FollowEvent[K, V]{Kind: FollowListed, Index: at}, nil)
}

// storedKey returns the key of an event as the map holds it.
func storedKey[K Key, V any](e *MapEvent[K, V], bad error) []byte {
	if one := (*DecodeError)(nil); errors.As(bad, &one) {
		return one.Key
	}
	return kvmap.AppendKey(nil, e.Key)
}

// readAt returns where the listing has read a key.
func (f *follower[K, V]) readAt(key []byte) Index {
	i, _ := slices.BinarySearchFunc(f.pages, key, func(p listed, key []byte) int {
		if len(p.next) == 0 || bytes.Compare(key, p.next) < 0 {
			return 1
		}
		return -1
	})
	return f.pages[i].index
}
