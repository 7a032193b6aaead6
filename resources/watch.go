package resources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// WatchOptions say which changes are watched, and what is told of them.
type WatchOptions struct {
	// Prefix is what the keys begin with, where they are strings or bytes; a raw key of
	// a map begins with its kind. With integer keys, which begin with nothing, and of a cell it is
	// ErrInvalid. Default: all keys.
	Prefix []byte
	// After is an index: the watch begins with what was written after it. It
	// comes from a read with WithInfo (info.Index), or is the Resume of an event, and
	// another member may go on from there. Above the log of the cluster, such as an index of
	// another cluster, the watch waits for it; above protocol.IndexMax, to which no log comes, it is
	// ErrInvalid. Default 0: from now on.
	After Index
	// Latest leaves out changes that are out of date when they are told: the key was changed
	// again, and that is told, or will be. Who is behind is told less then, and catches up. What
	// one entry has changed is not told as a whole, and what has been told is the state at some index
	// only once nothing waits to be told: see docs/reads.md.
	Latest bool
	// Previous has each event tell what the key was before its entry, also where that was not
	// told, with Latest. What it costs is on the wire, for this watch.
	Previous bool
	// Bookmarks has the watch yield events of the kind EventBookmark, too.
	Bookmarks bool
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	// EventPut is a key that was put.
	EventPut EventKind = 1
	// EventDelete is a key that was deleted.
	EventDelete EventKind = 2
	// EventBookmark is no change: everything up to Index that is watched has been told. The
	// first one comes when the member has taken the watch, others about once a second while
	// nothing is told, also while no member can be reached: their Age says so. Who keeps the
	// Resume of the last event that it has seen goes on from there later, also when the changes
	// of an hour before are gone, of which none was of these keys.
	EventBookmark EventKind = 3
)

// String returns the kind's name.
func (k EventKind) String() string {
	return protocol.EnumText(k, "kind", "", "put", "delete", "bookmark")
}

// PreviousKind says what is known of a key before a change.
type PreviousKind uint8

const (
	// PreviousUnknown: nothing is, because the watch has not asked, or because the entry has changed
	// values of more than 4 MiB: those beyond it are not kept; or it cannot be read, which a [DecodeError] says.
	// It does not mean that there was none.
	PreviousUnknown = PreviousKind(protocol.PreviousUnknown)
	// PreviousNone: there was no such key.
	PreviousNone = PreviousKind(protocol.PreviousNone)
	// PreviousValue: it had the value Previous.
	PreviousValue = PreviousKind(protocol.PreviousValue)
)

// String returns the kind's name.
func (k PreviousKind) String() string {
	return protocol.EnumText(k, "kind", "unknown", "none", "value")
}

// Event is one key that was put or deleted, or a bookmark. Of a cell the key says nothing.
type Event[K, V any] struct {
	Kind  EventKind
	Key   K // the zero value of a bookmark
	Value V // of EventPut
	// Previous is what the key was before the entry, if PreviousKind says PreviousValue. An entry
	// that writes a key twice is one event.
	PreviousKind PreviousKind
	Previous     V
	// Index is where it was written. Several keys may change at one index.
	Index Index
	// Last says that no other event of this index follows.
	Last bool
	// Age, if AgeKnown, is an upper bound on how old all that has been told was when this came:
	// no write acknowledged longer ago is missing.
	Age      time.Duration
	AgeKnown bool
}

// Resume is the WatchOptions.After of a watch that goes on behind this event: its index, or,
// when others of the same index follow, the index before. Then that entry is told again from
// its first event on, and nothing of it is lost. It is 0 of the zero event, which comes with an
// error that ends the watch.
func (e *Event[K, V]) Resume() Index {
	if e.Last || e.Index == 0 {
		return e.Index
	}
	return e.Index - 1
}

// Watchable is what a watch can be of: a [Table], a [Cell], or [Keys].
type Watchable[K, V any] interface{ watchable() watchable[K, V] }

// watchable is how what is stored becomes an event.
type watchable[K, V any] struct {
	begins []byte // all keys; what follows is given to the functions
	alone  bool   // there is one key, which is begins
	prefix func(prefix []byte) ([]byte, error)
	parse  func(key []byte) (K, error)
	text   func(key []byte) string
}

// Keys are those of a type that writes them with [Tx.Set], and not through a [Table]: how
// they are stored. The three functions are required.
type Keys[K, V any] struct {
	// Prefix returns what the stored keys begin with that begin with prefix.
	Prefix func(prefix []byte) ([]byte, error)
	// Parse reads a stored key, to which the result does not refer.
	Parse func(stored []byte) (K, error)
	// Text shows a stored key in errors.
	Text func(stored []byte) string
}

func (k Keys[K, V]) watchable() watchable[K, V] {
	return watchable[K, V]{prefix: k.Prefix, parse: k.Parse, text: k.Text}
}

func (t Table[K, V]) watchable() watchable[K, V] {
	invariant.Check(len(t.prefix) > 0, "a watch of a table that NewTable has not made")
	return watchable[K, V]{
		begins: t.prefix, parse: ParseKey[K],
		prefix: func(prefix []byte) ([]byte, error) {
			if kind := reflect.TypeFor[K]().Kind(); len(prefix) > 0 && kind != reflect.String && kind != reflect.Slice {
				return nil, protocol.ErrInvalid.With(fmt.Sprintf("a prefix is what string and bytes keys begin with, and these keys are of type %v: watch all of them", reflect.TypeFor[K]()))
			}
			return prefix, nil
		},
		text: func(key []byte) string {
			k, err := ParseKey[K](key)
			if err != nil {
				return protocol.Quoted(string(key))
			}
			return fmt.Sprintf("%#v", k)
		},
	}
}

func (c Cell[T]) watchable() watchable[struct{}, T] {
	invariant.Check(len(c.key) > 0, "a watch of a cell that NewCell has not made")
	return watchable[struct{}, T]{
		begins: c.key, alone: true,
		prefix: func(prefix []byte) ([]byte, error) {
			if len(prefix) > 0 {
				return nil, protocol.ErrInvalid.With("a cell has no keys that could begin with something: a watch of it has no prefix")
			}
			return nil, nil
		},
		parse: func([]byte) (struct{}, error) { return struct{}{}, nil },
		text:  func([]byte) string { return string(c.key[1:]) },
	}
}

// Watch is a table or a cell of a type as others watch it: beside the type's operations, what
// tells its users of changes.
type Watch[K, V any] struct {
	typ *Type
	of  watchable[K, V]
}

// NewWatch returns a watch for a package variable.
//
//	var Bids = resources.NewWatch(Type, bids)
func NewWatch[K, V any](t *Type, of Watchable[K, V]) *Watch[K, V] {
	invariant.Check(of != nil, "a watch of nothing: give it a table, a cell or Keys")
	w := of.watchable()
	invariant.Check(w.prefix != nil && w.parse != nil && w.text != nil, "a watch of keys without a function: Keys needs Prefix, Parse and Text")
	return &Watch[K, V]{t, w}
}

// Watch begins a watch of the named instance, and returns when a member has taken it: what is acknowledged from then on
// is told, whenever the loop begins. ctx bounds all of it. What Watch returns is ranged over once, and yields
// changes in order, without gaps or duplicates, until ctx ends or
// the loop does; who never ranges over it ends ctx. What cannot be read comes with a [DecodeError], and the changes
// after it follow. Any other error is the last thing that it yields: the context's,
// ErrTooLarge (the caller has 4,096 watches already), ErrCompacted (the
// changes after After are gone, or what was told may be wrong: read the state and watch on
// from the index of that read), ErrSlowWatcher (the loop did not keep up) or one of those
// in docs/reads.md; also that of a watch that did not begin. While no member can be reached it goes on; bookmarks say how old what it
// has told is.
func (w *Watch[K, V]) Watch(ctx context.Context, caller Caller, resource string, o WatchOptions) iter.Seq2[Event[K, V], error] {
	r := &running[K, V]{watch: w, ctx: ctx, resource: resource, bookmarks: o.Bookmarks}
	if r.stream, r.err = w.open(ctx, caller, resource, o); r.err != nil {
		return r.events
	}
	if r.begins, r.err = r.stream.Next(ctx); r.err != nil { // where that is, which a lost member would take with it
		r.stream.Close()
		return r.events
	}
	r.unlessEnded = context.AfterFunc(ctx, r.stream.Close)
	return r.events
}

func (w *Watch[K, V]) open(ctx context.Context, caller Caller, resource string, o WatchOptions) (WatchStream, error) {
	switch {
	case w == nil || w.typ == nil:
		return nil, protocol.ErrInvalid.With("the watch is nil, or of no type")
	case caller == nil:
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("a watch of %s has nobody to ask: its handle was made without a Node or a Client", w.typ.name))
	}
	prefix, err := w.of.prefix(o.Prefix)
	if err != nil {
		return nil, err
	}
	asked := protocol.Watch{
		Resource: resource, Type: w.typ.name, Prefix: append(w.of.begins[:len(w.of.begins):len(w.of.begins)], prefix...),
		From: o.After, Latest: o.Latest, Previous: o.Previous,
	}
	if err := asked.Validate(); err != nil {
		return nil, err
	}
	return caller.Watch(ctx, asked)
}

// running is a watch that has begun, or why it has not.
type running[K, V any] struct {
	watch       *Watch[K, V]
	ctx         context.Context
	resource    string
	bookmarks   bool
	stream      WatchStream
	begins      protocol.Changes
	err         error
	unlessEnded func() bool
	ranged      atomic.Bool
	marked      time.Time // when the last bookmark was yielded
}

func (r *running[K, V]) events(yield func(Event[K, V], error) bool) {
	if r.err != nil {
		yield(Event[K, V]{}, r.err)
		return
	}
	if r.ranged.Swap(true) {
		yield(Event[K, V]{}, protocol.ErrClosed.With("a watch is ranged over once: call Watch again, After the Resume of the last event"))
		return
	}
	defer r.stream.Close()
	defer r.unlessEnded()
	for changes := r.begins; r.tell(&changes, yield); {
		var err error
		if changes, err = r.stream.Next(r.ctx); err != nil {
			if ended := r.ctx.Err(); ended != nil {
				err = ended // which has closed the stream
			}
			yield(Event[K, V]{}, err)
			return
		}
	}
}

// tell yields changes, or a bookmark, and reports whether there is to be more.
func (r *running[K, V]) tell(changes *protocol.Changes, yield func(Event[K, V], error) bool) bool {
	came := time.Now()
	ours := r.ours(changes.Changes)
	bookmark := Event[K, V]{Kind: EventBookmark, Index: changes.Index, Last: true, Age: time.Duration(changes.Age), AgeKnown: changes.AgeKnown}
	if len(ours) == 0 && r.bookmarks {
		if len(changes.Changes) > 0 && came.Sub(r.marked) < time.Second {
			return true // what concerns others may come all the time
		}
		if r.marked = came; !yield(bookmark, nil) {
			return false
		}
	}
	for i := range ours {
		if err := r.ctx.Err(); err != nil {
			yield(Event[K, V]{}, err)
			return false
		}
		e, err := r.event(&ours[i], changes.Index)
		e.Last = i == len(ours)-1
		e.Age, e.AgeKnown = bookmark.Age+time.Since(came), bookmark.AgeKnown // the loop may take its time
		if !yield(e, err) {
			return false
		}
	}
	return true
}

// ours returns those that were asked for: cells may have names that begin alike.
func (r *running[K, V]) ours(changes []protocol.Change) []protocol.Change {
	if !r.watch.of.alone {
		return changes
	}
	for i := range changes {
		if bytes.Equal(changes[i].Key, r.watch.of.begins) {
			return changes[i : i+1]
		}
	}
	return nil
}

func (r *running[K, V]) event(c *protocol.Change, index Index) (e Event[K, V], err error) {
	e.Index, e.Kind, e.PreviousKind = index, EventPut, PreviousKind(c.PreviousKind)
	if c.Kind == protocol.ChangeDelete {
		e.Kind = EventDelete
	}
	of := &r.watch.of
	key, asked := bytes.CutPrefix(c.Key, of.begins)
	bad := DecodeError{Key: key, Index: e.Index, Value: c.Value, Deleted: e.Kind == EventDelete}
	if !asked {
		err = protocol.ErrMalformed.With("a key that nobody has asked for")
	} else if e.Key, err = of.parse(key); err == nil && !bad.Deleted {
		e.Value, err = ParseValue[V](c.Value)
	}
	what := ""
	if e.PreviousKind == PreviousValue {
		before, unread := ParseValue[V](c.Previous)
		switch {
		case unread == nil:
			e.Previous = before
		case err == nil:
			err, bad.Value, bad.Deleted, bad.Previous, what = unread, c.Previous, false, true, ", what it was before"
			fallthrough
		default:
			e.PreviousKind = PreviousUnknown // it is not the zero value
		}
	}
	if err == nil {
		return e, nil
	}
	if errors.Is(err, protocol.ErrMalformed) {
		err = protocol.ErrMalformed.With(fmt.Sprintf("%s %q, key %s%s, read as %v", r.watch.typ.name, r.resource, of.text(key), what, reflect.TypeFor[V]())).Because(err)
	}
	bad.Cause = err
	return e, &bad
}
