package starling

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Key is what maps can be keyed by: strings and byte slices, in bytewise
// order, and whole numbers, by value. A string or a slice may be empty, and has
// at most 4,096 bytes; beyond that every call is ErrTooLarge.
type Key = resources.Key

// Map is a typed handle to a replicated, ordered map. Values are encoded with
// msgpack. A handle holds nothing but the name; make as many as you like. The
// map is there with its first write; before, it is empty. With its last key it
// is gone, and costs nothing.
//
// The keys say what they are: "7", 7 and uint(7) are three keys. A map has keys
// of one type as long as all its handles do; a handle that meets a key of
// another type in Scan, Watch or Follow yields ErrWrongType for it, whose text says
// of which, and goes on. A handle with [RawKey] reads them all.
type Map[K Key, V any] struct {
	caller Caller
	name   string
}

// NewMap returns a handle over a Node or a Client. Names are of letters,
// digits, "-", "_" and ".". If values of type V cannot be stored, every call
// fails with what [Map.Err] says.
func NewMap[K Key, V any](c Caller, name string) *Map[K, V] {
	return &Map[K, V]{caller: callerFor[V](c), name: name}
}

// Err returns why no call of this handle can work, an ErrInvalid, or nil: values
// of type V cannot be stored, with the place in the type and the way out
// (resources.AppendValue has the rules), or there is nobody to ask.
func (m *Map[K, V]) Err() error { return faultOf(m.target()) }

// Entry is a key with its value and its version, which changes with each put.
// Conditions compare versions.
type Entry[K Key, V any] struct {
	Key     K
	Value   V
	Version Index
}

// Get returns the value of a key, or ErrNotFound; ErrMalformed with a DecodeError,
// if it is of another type than V.
func (m *Map[K, V]) Get(ctx context.Context, key K, opts ...ReadOption) (V, error) {
	e, err := m.GetEntry(ctx, key, opts...)
	return e.Value, err
}

// GetEntry returns a key with its value and version, or ErrNotFound.
func (m *Map[K, V]) GetEntry(ctx context.Context, key K, opts ...ReadOption) (Entry[K, V], error) {
	stored, err := kvmap.EncodeKey(key)
	if err != nil {
		return Entry[K, V]{}, err
	}
	caller, name := m.target()
	item, err := kvmap.Get.Do(ctx, caller, name, stored, opts...)
	if err != nil {
		return Entry[K, V]{}, err
	}
	value, err := resources.ParseValue[V](item.Value)
	if err != nil {
		err = m.unreadable(&kvmap.Item{Key: stored, Value: item.Value, Version: item.Version}, err)
	}
	return Entry[K, V]{Key: key, Value: value, Version: item.Version}, err
}

// Put sets a key.
func (m *Map[K, V]) Put(ctx context.Context, key K, value V, opts ...WriteOption) error {
	_, err := m.put(ctx, key, value, kvmap.Always, 0, opts)
	return err
}

// PutIf sets a key whose version is the given one, and returns its new
// version; version 0 means that there is no such key. Otherwise the error is
// ErrConditionFailed, and the version is the one that the key has.
func (m *Map[K, V]) PutIf(ctx context.Context, key K, value V, version Index, opts ...WriteOption) (Index, error) {
	return m.put(ctx, key, value, kvmap.IfVersion, version, opts)
}

func (m *Map[K, V]) put(ctx context.Context, key K, value V, c kvmap.Condition, version Index, opts []WriteOption) (Index, error) {
	stored, err := kvmap.EncodeKey(key)
	if err != nil {
		return 0, err
	}
	b, err := resources.AppendValue(nil, value)
	if err != nil {
		return 0, err
	}
	caller, name := m.target()
	now, err := kvmap.Put.Do(ctx, caller, name, kvmap.PutRequest{
		Key: stored, Value: b, Condition: c, Version: protocol.Index(version),
	}, opts...)
	return now, err
}

// Delete removes a key and says whether it was there.
func (m *Map[K, V]) Delete(ctx context.Context, key K, opts ...WriteOption) (bool, error) {
	version, err := m.delete(ctx, key, kvmap.Always, 0, opts)
	return err == nil && version != 0, err
}

// DeleteIf removes a key whose version is the given one. Otherwise the error is
// ErrConditionFailed.
func (m *Map[K, V]) DeleteIf(ctx context.Context, key K, version Index, opts ...WriteOption) error {
	_, err := m.delete(ctx, key, kvmap.IfVersion, version, opts)
	return err
}

func (m *Map[K, V]) delete(ctx context.Context, key K, c kvmap.Condition, version Index, opts []WriteOption) (protocol.Index, error) {
	stored, err := kvmap.EncodeKey(key)
	if err != nil {
		return 0, err
	}
	caller, name := m.target()
	return kvmap.Delete.Do(ctx, caller, name, kvmap.DeleteRequest{Key: stored, Condition: c, Version: protocol.Index(version)}, opts...)
}

// Len returns the number of keys.
func (m *Map[K, V]) Len(ctx context.Context, opts ...ReadOption) (int, error) {
	caller, name := m.target()
	return kvmap.Size.Do(ctx, caller, name, struct{}{}, opts...)
}

// Range is a piece of the key space, in the order of keys. The zero value is
// all of it.
type Range[K Key] struct {
	from, to []byte
	limit    int
	empty    bool
}

// Between is the keys from one on and before another.
func Between[K Key](from, to K) Range[K] {
	r := Range[K]{from: kvmap.AppendKey(nil, from), to: kvmap.AppendKey(nil, to)}
	r.empty = len(r.to) == 0 // nothing comes before the empty raw key
	return r
}

// From is the keys from one on, up to the end of the map.
func From[K Key](from K) Range[K] { return Range[K]{from: kvmap.AppendKey(nil, from)} }

// Prefix is the keys that begin with something. A RawKey begins with its kind.
func Prefix[K ~string | ~[]byte](prefix K) Range[K] {
	p := kvmap.Prefix(kvmap.AppendKey(nil, prefix))
	return Range[K]{from: p.From, to: p.To}
}

// Limit is the first n keys of a range; 0 is no limit.
func (r Range[K]) Limit(n int) Range[K] {
	r.limit = n
	return r
}

// Scan yields the keys of a range in order. It reads pages, each at its own
// index: what is written meanwhile may be seen or not. What cannot be read comes
// with a [DecodeError], and the keys after it follow; any other error is the last
// that it yields.
func (m *Map[K, V]) Scan(ctx context.Context, r Range[K], opts ...ReadOption) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		request, left := kvmap.ScanRequest{From: r.from, To: r.to}, r.limit
		for !r.empty {
			request.Limit = min(left, kvmap.PageItemsDefault)
			caller, name := m.target()
			page, err := kvmap.Scan.Do(ctx, caller, name, request, opts...)
			if err != nil {
				yield(Entry[K, V]{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(m.entryOf(item)) {
					return
				}
			}
			left -= len(page.Items)
			if len(page.Next) == 0 || (r.limit > 0 && left <= 0) {
				return
			}
			request.From = page.Next
		}
	}
}

func (m *Map[K, V]) entryOf(item kvmap.Item) (e Entry[K, V], err error) {
	e.Version = item.Version
	if e.Key, err = kvmap.ParseKey[K](item.Key); err == nil {
		e.Value, err = resources.ParseValue[V](item.Value)
	}
	if err != nil {
		err = m.unreadable(&item, err)
	}
	return e, err
}

// WatchOptions say which changes are watched, and what is told of them.
type WatchOptions = resources.WatchOptions

// EventKind says what a MapEvent tells.
type EventKind = resources.EventKind

// What an event of a watch tells.
const (
	EventPut      = resources.EventPut
	EventDelete   = resources.EventDelete
	EventBookmark = resources.EventBookmark
)

// PreviousKind says what is known of a key before a change.
type PreviousKind = resources.PreviousKind

// What is known of a key before a change, with WatchOptions.Previous.
const (
	PreviousUnknown = resources.PreviousUnknown
	PreviousNone    = resources.PreviousNone
	PreviousValue   = resources.PreviousValue
)

// MapEvent is one key that was put or deleted, or a bookmark.
type MapEvent[K Key, V any] = resources.Event[K, V]

// Watch begins a watch, and returns when a member has taken it: what is acknowledged from then on
// is told, whenever the loop begins. It is [resources.Watch.Watch], which says how it ends. What cannot be
// read comes with a [DecodeError], and the changes after it follow.
func (m *Map[K, V]) Watch(ctx context.Context, o WatchOptions) iter.Seq2[MapEvent[K, V], error] {
	caller, name := m.target()
	return kvmap.NewWatch[K, V]().Watch(ctx, caller, name, o)
}
