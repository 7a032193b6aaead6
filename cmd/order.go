package cmd

import (
	"bytes"
	"iter"
	"slices"
)

// An export is sorted as lines are, so that it equals the sorted input byte
// for byte. A map is sorted by raw key. The two orders differ only where a key
// has a byte below the TAB that ends it on the line, or a TAB or a newline,
// which are written as escapes that begin with a backslash:
//
//	raw      ... 00-08, 09 (TAB), 0a (LF), 0b ... 5b, 5c (\), 5d ...
//	on line  ... 00-08, end of key, 0b ... 5b, 5c (\), 0a (LF), 09 (TAB), 5d ...
//
// So a reader in raw order goes on past the keys that go on with TAB or LF
// after some prefix, and comes back for them when it is past that prefix and a
// backslash; and it holds a key back while longer ones with bytes 00-08 after
// it may follow. What it must come back for is a stack no deeper than a key is
// long, whatever the size of the map.

// pair is a raw key and its value.
type pair struct{ key, value []byte }

// scanFunc reads the pairs with from <= key < to in raw order; no to means to
// the end. Pairs are the caller's to keep.
type scanFunc func(from, to []byte) iter.Seq2[pair, error]

// lineOrder reads all pairs in the order of their lines.
func lineOrder(scan scanFunc) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		w := walker{scan: scan, yield: yield}
		w.walk(nil)
	}
}

type walker struct {
	scan  scanFunc
	yield func(pair, error) bool
}

// held is what the walker comes back for when it reaches bound.
type held struct {
	bound []byte
	pair  pair   // handed out, if skip is nil
	skip  []byte // if not nil: walk the keys with this prefix and LF, then TAB
}

// walk hands out the keys that begin with base, except for the order of what
// base itself contains. It returns false when the reader wants no more.
func (w *walker) walk(base []byte) bool {
	var stack []held
	from, to := base, after(base)
	for more := true; more; {
		more = false
		for p, err := range w.scan(from, to) {
			if err != nil {
				return w.yield(pair{}, err)
			}
			if !w.release(&stack, p.key) {
				return false
			}
			if i := bytes.IndexAny(p.key[len(base):], "\t\n"); i >= 0 {
				prefix := slices.Clone(p.key[:len(base)+i])
				stack = append(stack, held{bound: extend(prefix, '\\'+1), skip: prefix})
				from, more = extend(prefix, '\n'+1), true
				break
			}
			stack = append(stack, held{bound: extend(p.key, '\t'), pair: p})
		}
	}
	return w.release(&stack, nil)
}

// release hands out what is due before key; all of it if key is nil.
func (w *walker) release(stack *[]held, key []byte) bool {
	for n := len(*stack); n > 0; n = len(*stack) {
		top := (*stack)[n-1]
		if key != nil && bytes.Compare(key, top.bound) < 0 {
			return true
		}
		*stack = (*stack)[:n-1]
		if top.skip == nil {
			if !w.yield(top.pair, nil) {
				return false
			}
			continue
		}
		if !w.walk(extend(top.skip, '\n')) || !w.walk(extend(top.skip, '\t')) {
			return false
		}
	}
	return true
}

// extend returns a new slice with one more byte.
func extend(b []byte, c byte) []byte { return append(slices.Clip(slices.Clone(b)), c) }

// after returns the lowest key above all that begin with prefix, nil if there
// is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return extend(prefix[:i], prefix[i]+1)
		}
	}
	return nil
}
