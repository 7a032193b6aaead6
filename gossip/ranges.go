package gossip

import (
	"slices"
	"sort"

	"github.com/starlinghq/starling/protocol"
)

// rangesMax bounds a set of ranges. What would make another one beyond it, at
// the far end, is not recorded.
const rangesMax = 1024

// ranges is a set of indexes.
//
// Invariant: sorted, disjoint, never adjacent, First <= Last, First > 0.
type ranges struct{ list []protocol.Range }

// add puts r into the set and reports whether any index in it was new. A set
// that is full takes nothing at its far end and reports false.
func (s *ranges) add(r protocol.Range) bool {
	// The ranges i..j-1 overlap r or touch it.
	i := sort.Search(len(s.list), func(k int) bool { return s.list[k].Last >= r.First-1 })
	j := i
	for j < len(s.list) && s.list[j].First-1 <= r.Last {
		j++
	}
	if i == j {
		if len(s.list) >= rangesMax {
			if i == len(s.list) {
				return false
			}
			s.list = s.list[:len(s.list)-1]
		}
		s.list = slices.Insert(s.list, i, r)
		return true
	}
	if j == i+1 && s.list[i].First <= r.First && r.Last <= s.list[i].Last {
		return false
	}
	s.list[i] = protocol.Range{
		First: min(r.First, s.list[i].First),
		Last:  max(r.Last, s.list[j-1].Last),
	}
	s.list = slices.Delete(s.list, i+1, j)
	return true
}

// covers reports whether every index of r is in the set.
func (s *ranges) covers(r protocol.Range) bool {
	i := sort.Search(len(s.list), func(k int) bool { return s.list[k].Last >= r.First })
	return i < len(s.list) && s.list[i].First <= r.First && r.Last <= s.list[i].Last
}

// count is how many indexes are in the set.
func (s *ranges) count() (n protocol.Index) {
	for _, r := range s.list {
		n += r.Last - r.First + 1
	}
	return n
}

// remove takes the indexes of r out of the set.
func (s *ranges) remove(r protocol.Range) {
	var out []protocol.Range
	for _, have := range s.list {
		if have.Last < r.First || r.Last < have.First {
			out = append(out, have)
			continue
		}
		if have.First < r.First {
			out = append(out, protocol.Range{First: have.First, Last: r.First - 1})
		}
		if r.Last < have.Last {
			out = append(out, protocol.Range{First: r.Last + 1, Last: have.Last})
		}
	}
	s.list = out
}

// dropTo forgets the indexes up to i.
func (s *ranges) dropTo(i protocol.Index) {
	n := 0
	for n < len(s.list) && s.list[n].Last <= i {
		n++
	}
	s.list = s.list[n:]
	if len(s.list) > 0 && s.list[0].First <= i {
		s.list[0].First = i + 1
	}
}

// gaps returns up to limit ranges of within that are not in the set, in order.
func (s *ranges) gaps(dst []protocol.Range, within protocol.Range, limit int) []protocol.Range {
	next := within.First
	for _, r := range s.list {
		if len(dst) >= limit || r.First > within.Last {
			break
		}
		if r.Last < next {
			continue
		}
		if r.First > next {
			dst = append(dst, protocol.Range{First: next, Last: r.First - 1})
		}
		if r.Last >= within.Last {
			return dst
		}
		next = r.Last + 1
	}
	if len(dst) < limit && next <= within.Last {
		dst = append(dst, protocol.Range{First: next, Last: within.Last})
	}
	return dst
}

func (s *ranges) clear() { s.list = nil }
