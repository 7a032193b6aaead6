// Package kvmap is the map: keys in order, each with a value and a version, and
// conditions on versions.
//
// The operations speak bytes. Typed handles (starling.NewMap) and the command
// line put their encodings on top: keys by [AppendKey], so that a stored key
// says of what kind it is, values by [resources.AppendValue]. A program that
// uses the operations directly with other bytes works as well, but handles will
// refuse its keys, and nobody can show them.
//
// The version of a key is the index of the entry that set it last. Conditions
// compare versions, never values: equal values can have several encodings.
package kvmap

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Condition says when a write happens. Otherwise it is ErrConditionFailed, and
// the answer is the version that the key has (0: it does not exist).
type Condition uint8

const (
	// Always is no condition.
	Always Condition = iota
	// IfAbsent wants the key not to exist.
	IfAbsent
	// IfPresent wants the key to exist.
	IfPresent
	// IfVersion wants the key to have a version; version 0 is IfAbsent.
	IfVersion
)

// Limits of one page of a scan. A page holds at least one item if there is
// one, however large.
const (
	PageItemsDefault = 1000
	PageItemsMax     = 10_000
	PageBytesMax     = 1 << 20
)

// PutRequest sets a key.
type PutRequest struct {
	Key, Value []byte
	Condition  Condition
	Version    resources.Index // for IfVersion
}

// DeleteRequest removes a key. That it does not exist is not an error by
// itself.
type DeleteRequest struct {
	Key       []byte
	Condition Condition
	Version   resources.Index // for IfVersion
}

// Pair is one key of a PutAll.
type Pair struct{ Key, Value []byte }

// Pairs are the keys of a PutAll.
type Pairs []Pair

// KeyRequest names a key.
type KeyRequest []byte

// Item is a key with its value and its version.
type Item struct {
	Key, Value []byte
	Version    resources.Index
}

// ScanRequest asks for the keys From..To in order, To excluded. Empty From: the
// beginning; empty To: the end.
type ScanRequest struct {
	From, To []byte
	Limit    int  // items; 0: PageItemsDefault; at most PageItemsMax
	KeysOnly bool // leave values away
}

// Prefix returns a request for the keys that begin with prefix, which comes from
// [EncodePrefix].
func Prefix(prefix []byte) ScanRequest {
	return ScanRequest{From: prefix, To: resources.PrefixEnd(prefix)}
}

// Page is one piece of a scan. Next, if not empty, is where the following page
// begins (its From). Each page is read at one index, two pages may be at two.
type Page struct {
	Items []Item
	Next  []byte
}

// Put sets a key and answers its new version, or with ErrConditionFailed the
// one that it has.
var Put = resources.NewCommand("put", func(tx *resources.Tx, r PutRequest) (resources.Index, error) {
	if r.Condition != Always {
		if version, err := check(tx, r.Key, r.Condition, r.Version); err != nil {
			return version, err
		}
	}
	return tx.Index(), tx.Set(r.Key, r.Value)
})

// PutAll sets many keys at once and answers their version. All or none.
var PutAll = resources.NewCommand("putall", func(tx *resources.Tx, pairs Pairs) (resources.Index, error) {
	for _, p := range pairs {
		if err := tx.Set(p.Key, p.Value); err != nil {
			return 0, err
		}
	}
	return tx.Index(), nil
})

// Delete removes a key and answers the version that it had, 0 if it did not
// exist.
var Delete = resources.NewCommand("delete", func(tx *resources.Tx, r DeleteRequest) (resources.Index, error) {
	version, err := check(tx, r.Key, r.Condition, r.Version)
	if err == nil {
		tx.Delete(r.Key)
	}
	return version, err
}).Frees()

// Get reads a key. ErrNotFound.
var Get = resources.NewQuery("get", func(v *resources.View, key KeyRequest) (Item, error) {
	item, ok, err := v.Lookup(key)
	if err == nil && !ok {
		err = protocol.ErrNotFound.With("the key does not exist")
	}
	return Item(item), err
})

// Scan reads a page of keys in order.
var Scan = resources.NewQuery("scan", func(v *resources.View, r ScanRequest) (Page, error) {
	limit := r.Limit
	if limit <= 0 {
		limit = PageItemsDefault
	}
	limit = min(limit, PageItemsMax)
	var to []byte
	if len(r.To) > 0 {
		to = r.To
	}
	var page Page
	size := 0
	for item, err := range v.Scan(r.From, to) {
		if err != nil {
			return Page{}, err
		}
		if r.KeysOnly {
			item.Value = nil
		}
		size += len(item.Key) + len(item.Value)
		if len(page.Items) == limit || len(page.Items) > 0 && size > PageBytesMax {
			page.Next = item.Key
			break
		}
		page.Items = append(page.Items, Item(item))
	}
	return page, nil
})

// Size counts the keys, at no cost.
var Size = resources.NewQuery("size", func(v *resources.View, _ struct{}) (int, error) {
	return v.Len(), nil
})

// Type is what a member needs to have maps.
var Type = resources.NewType("map", 1, Put, PutAll, Delete, Get, Scan, Size)

// check compares a key with a condition and returns its version.
func check(tx *resources.Tx, key []byte, c Condition, want resources.Index) (resources.Index, error) {
	item, ok, err := tx.Lookup(key)
	if err != nil {
		return 0, err
	}
	switch c {
	case Always:
		return item.Version, nil
	case IfAbsent:
		if ok {
			return item.Version, protocol.ErrConditionFailed.With("the key exists")
		}
	case IfPresent:
		if !ok {
			return 0, protocol.ErrConditionFailed.With("the key does not exist")
		}
	case IfVersion:
		if item.Version != want {
			return item.Version, protocol.ErrConditionFailed.With(fmt.Sprintf("the key has version %d, not %d", item.Version, want))
		}
	default:
		return 0, protocol.ErrInvalid.With(fmt.Sprintf("unknown condition %d", c))
	}
	return item.Version, nil
}

// NewWatch returns the watch of maps with keys of type K and values of type V.
func NewWatch[K resources.Key, V any]() *resources.Watch[K, V] {
	return resources.NewWatch(Type, resources.Keys[K, V]{
		Prefix: EncodePrefix[K], Parse: ParseKey[K], Text: func(stored []byte) string { return RawKey(stored).String() },
	})
}
