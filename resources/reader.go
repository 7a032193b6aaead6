package resources

import (
	"iter"

	"github.com/starlinghq/starling/internal/state"
)

// Reader is what [Tx] and [View] have in common: one instance of a resource,
// seen at one index.
//
// Keys and values that it hands out are the state's own: they stay as they are
// for ever and must not be changed.
type Reader interface {
	// Get returns the value of a key.
	Get(key []byte) (value []byte, ok bool, err error)
	// Lookup returns the value with its version.
	Lookup(key []byte) (Item, bool, error)
	// Scan yields the keys from..to, to excluded, in order. A nil from is
	// the beginning, a nil to the end. It yields an error at most once, last.
	Scan(from, to []byte) iter.Seq2[Item, error]
	// Len returns the number of keys, at no cost.
	Len() int
	// Index returns the index that is read at; in a Tx, that of the command.
	Index() Index
}

// Item is a key with its value and its version, the index of the entry that
// set it last. Conditions compare versions.
type Item struct {
	Key, Value []byte
	Version    Index
}

// scan walks the keys from..to of a space at an index. fine, if not nil, is asked before
// each item is handed out, also where there are many that are none at the index, and at
// the end.
func scan(sp *state.Space, i Index, from, to []byte, fine func() error) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var goes func() bool
		if fine != nil {
			goes = func() bool { return fine() == nil }
		}
		for r, v := range sp.ScanWhile(i, from, to, goes) {
			if !yield(Item{Key: r.KeyBytes(), Value: v.Value(), Version: v.Index()}, nil) {
				return
			}
		}
		if fine != nil {
			if err := fine(); err != nil {
				yield(Item{}, err)
			}
		}
	}
}
