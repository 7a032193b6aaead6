package state

import (
	"math/bits"
	"sync/atomic"
)

// skipList keeps the records of a space in the order of their keys (Pugh,
// 1990). One goroutine writes; any number walk at the same time without a
// lock. A walker that stands on a record which is taken out goes on from it:
// its links still lead forward, and what is added behind its back is newer
// than any index that it can read at. Once nobody can stand on it any more they
// are cut: see [state.bury].
//
// The height of a tower follows from the hash of the key, so that no random
// source is needed.
type skipList struct {
	head [heightMax]atomic.Pointer[Record]
}

// heightMax suits 4^12, sixteen million, keys; beyond it only gets slower.
const (
	heightMax = 12
	lowLevels = 2
)

// heightOf gives level n+1 to one record of 4^n.
func heightOf(hash uint64) int {
	return min(1+bits.TrailingZeros64(hash*0x9e3779b97f4a7c15>>20|1<<40)/2, heightMax)
}

// next returns the link of a record, or of the list's head if r is nil.
func (l *skipList) next(r *Record, level int) *atomic.Pointer[Record] {
	switch {
	case r == nil:
		return &l.head[level]
	case level < lowLevels:
		return &r.low[level]
	}
	return &r.high[level-lowLevels]
}

// seek returns the first record whose key is at or after key.
func (l *skipList) seek(key string) *Record {
	var at *Record
	order := orderOf(key)
	for level := heightMax - 1; level >= 0; level-- {
		for r := l.next(at, level).Load(); r != nil && r.less(order, key); r = l.next(at, level).Load() {
			at = r
		}
	}
	return l.next(at, 0).Load()
}

// after returns the record that follows r.
func (l *skipList) after(r *Record) *Record { return r.low[0].Load() }

// before fills in the last record of each level whose key is below key.
func (l *skipList) before(key string, path *[heightMax]*Record) {
	var at *Record
	order := orderOf(key)
	for level := heightMax - 1; level >= 0; level-- {
		for r := l.next(at, level).Load(); r != nil && r.less(order, key); r = l.next(at, level).Load() {
			at = r
		}
		path[level] = at
	}
}

// put links a record whose key is not in the list.
func (l *skipList) put(r *Record) {
	var path [heightMax]*Record
	l.before(r.key, &path)
	h := heightOf(r.hash)
	if h > lowLevels {
		r.high = new([heightMax - lowLevels]atomic.Pointer[Record])
	}
	// All links of the record lead on before any link leads to it, and the
	// lowest level, which alone decides what is there, comes first.
	for level := range h {
		l.next(r, level).Store(l.next(path[level], level).Load())
	}
	for level := range h {
		l.next(path[level], level).Store(r)
	}
}

// remove unlinks a record, top level first. Its own links stay, for those who
// stand on it.
func (l *skipList) remove(r *Record) {
	var path [heightMax]*Record
	l.before(r.key, &path)
	for level := heightOf(r.hash) - 1; level >= 0; level-- {
		link := l.next(path[level], level)
		if link.Load() == r {
			link.Store(l.next(r, level).Load())
		}
	}
}

// forget cuts the links of a record that is not in a list any more.
func (r *Record) forget() {
	for k := range r.low {
		if r.low[k].Load() != nil {
			r.low[k].Store(nil)
		}
	}
	if r.high == nil {
		return
	}
	for k := range r.high {
		r.high[k].Store(nil)
	}
}
