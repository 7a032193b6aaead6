package state

import "github.com/starlinghq/starling/protocol"

// leftover is something that can go once the floor has reached index: the
// versions of a key below it; without a record, the sizes of a space below it;
// without a space, the links of a record that was unlinked.
type leftover struct {
	space  *Space
	record *Record
	index  protocol.Index
}

// bury lists a record that was unlinked, for its links to be cut once the floor
// has reached an index.
//
// Whoever holds a dead record (a checkpoint to come, the last change of a
// watcher that hangs) must not hold what followed it as well, which, once dead
// itself, holds what followed that, and so on without end. But a walker may
// stand on the record, and go on from it:
//
//  1. A walker that sets out after the record was unlinked never comes to it. It
//     sets out at the head of the list and steps along links. A record that is in
//     the list leads to records in the list only; one that is taken out keeps
//     the links that it has then, and leads to what was in the list at that time.
//     So wherever a walker comes, it was in the list when the walker set out or
//     later.
//  2. A walker sets out with a view (or a snapshot), at the index that is
//     published when that is opened. A record unlinked in the middle of entry i,
//     which nobody can read yet, can have under it only walkers with an index
//     below i: they are gone when the floor is i. A record that the sweep at the
//     end of entry i unlinks, after i was published, can also have under it those
//     who have opened a view at i since: they are gone when the floor is i+1. Who
//     comes at i+1 has found that published, after the sweep of i.
//  3. A view that has expired holds the floor no more, and its walkers may find
//     that a link is cut. They look, after each step and at the end, whether the
//     view has expired, and that is marked before the floor moves.
//  4. The writer's own walks (commands, the end of a session, the digest) do not
//     go on from one entry to the next, and nothing that they pass is unlinked
//     before the end of the entry, or after what failed.
func (s *State) bury(r *Record, i protocol.Index) {
	s.stale = append(s.stale, leftover{nil, r, i})
}

// sweep drops what nobody can read any more: of each key it keeps the newest
// version at or below the floor and all above.
func (s *State) sweep(floor protocol.Index) {
	for ; s.head < len(s.stale) && s.stale[s.head].index <= floor; s.head++ {
		l := s.stale[s.head] // a copy: the list grows below
		s.stale[s.head] = leftover{}
		switch {
		case l.space == nil:
			l.record.forget()
		case l.record == nil:
			s.pruneSizes(l.space, floor)
		default:
			s.prune(l.space, l.record, floor)
		}
	}
	switch left := len(s.stale) - s.head; {
	case left == 0 && cap(s.stale) > leftoversKept:
		s.stale, s.head = nil, 0
	case left == 0:
		s.stale, s.head = s.stale[:0], 0
	case s.head > 4096 && s.head > left:
		s.moveLeftovers(left)
	}
}

// leftoversKept is the room for leftovers that is not given back. There are more
// of them only while a view or a snapshot is open for long.
const leftoversKept = 1 << 12

// moveLeftovers moves those that are left to the front.
func (s *State) moveLeftovers(left int) {
	into := s.stale
	if cap(into) > leftoversKept && cap(into) > 4*left {
		into = make([]leftover, left, 2*left)
	}
	copy(into, s.stale[s.head:])
	clear(into[left:])
	s.stale, s.head = into[:left], 0
}

func (s *State) prune(sp *Space, r *Record, floor protocol.Index) {
	for v := r.head.Load(); v != nil; v = v.older.Load() {
		if v.index > floor {
			continue
		}
		v.cut()
		// A deleted key goes altogether. Its record may be listed more than
		// once, and may be gone already.
		if v.gone && v == r.head.Load() && !r.unlinked {
			sp.unlink(r)
			s.bury(r, s.index+1)
			s.tracked.unlinked(r)
		}
		return
	}
}

// cut lets go of all older versions, and each of them of the others: whoever
// holds one must not hold all before it.
func (v *Version) cut() {
	for older := v.older.Load(); older != nil; older = v.older.Load() {
		v.older.Store(nil)
		v = older
	}
}

// cut lets go of all older sizes, and each of them of the others: they are made many at a
// time, and one that is held must not hold all before it.
func (n *sizeAt) cut() {
	for older := n.older.Load(); older != nil; older = n.older.Load() {
		n.older.Store(nil)
		n = older
	}
}

// pruneSizes drops sizes, and with the last keys of a resource its space.
func (s *State) pruneSizes(sp *Space, floor protocol.Index) {
	newest := sp.sizes.Load()
	for n := newest; n != nil; n = n.older.Load() {
		if n.index <= floor {
			n.cut()
			break
		}
	}
	if newest.keys == 0 && newest.index <= floor && s.spaces[sp.name] == sp { // the writer needs no lock to look
		s.Drop(sp)
	}
}
