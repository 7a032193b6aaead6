package state

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// viewAgeMax is how long a view may hold back pruning once the state has moved
// on. Then it is closed: its reads fail with ErrViewExpired. The limit is
// local; no apply sees it.
const viewAgeMax = 60 * time.Second

// digestsKept is how many of the last indexes have their digest at hand.
const digestsKept = 1024

// views is the border between the writer and the readers: the published index,
// and at which indexes somebody reads.
//
// A view registers and takes its index under the same small lock under which
// the writer publishes and finds the floor. Were these two steps, the writer
// could drop the version that a reader has chosen but not yet registered.
type views struct {
	published atomic.Uint64 // stored under mu; loaded anywhere

	mu sync.Mutex
	// first..last are the indexes read at, none below the one before: a new
	// view is always at the published index, which never goes back.
	first, last *viewNode
	free        *viewNode
	spare       int // in free
	digests     [digestsKept]digestAt
}

// viewNode is one index and how many views read at it.
type viewNode struct {
	index      protocol.Index
	count      int
	superseded protocol.Instant // when the state moved on; meaningful if passed
	passed     bool
	pinned     bool // a snapshot's: it does not expire, and nobody shares it
	// expired is set before any version that the node's views may want is
	// dropped, and looked at by them after each read.
	expired    atomic.Bool
	prev, next *viewNode
}

// open registers a view at the published index.
func (s *views) open() (*viewNode, protocol.Index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := protocol.Index(s.published.Load())
	if n := s.last; n != nil && n.index == i && !n.pinned && !n.expired.Load() {
		n.count++
		return n, i
	}
	return s.add(i), i
}

// pin registers a snapshot at the published index.
func (s *views) pin() *viewNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.add(protocol.Index(s.published.Load()))
	n.pinned = true
	return n
}

// add makes the last node, for an index not below those of the others. The
// lock is held.
func (s *views) add(i protocol.Index) *viewNode {
	n := s.free
	if n != nil {
		s.free = n.next
		s.spare--
	} else {
		n = new(viewNode)
	}
	n.index, n.count, n.passed, n.pinned, n.prev, n.next = i, 1, false, false, s.last, nil
	n.expired.Store(false)
	if s.last != nil {
		s.last.next = n
	} else {
		s.first = n
	}
	s.last = n
	return n
}

func (s *views) close(n *viewNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.count--
	if n.count > 0 {
		return
	}
	if !n.expired.Load() {
		s.unlink(n)
	}
	n.prev, n.next = nil, nil
	if s.spare < viewsSpare {
		n.next, s.free = s.free, n
		s.spare++
	}
}

// viewsSpare is how many nodes are kept for the next views.
const viewsSpare = 256

func (s *views) unlink(n *viewNode) {
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		s.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		s.last = n.prev
	}
}

// publish makes everything up to index i visible, after all its writes, and
// returns the floor: no view reads below it, now or later.
func (s *views) publish(i protocol.Index, digest Digest, now protocol.Instant) (floor protocol.Index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := s.last; n != nil && !n.passed; n = n.prev {
		n.passed, n.superseded = true, now
	}
	s.digests[i%digestsKept] = digestAt{i, digest}
	s.published.Store(uint64(i))
	for n := s.first; n != nil && n.passed && now.Sub(n.superseded) >= viewAgeMax; {
		next := n.next
		if !n.pinned {
			n.expired.Store(true)
			s.unlink(n)
		}
		n = next
	}
	if s.first != nil {
		return s.first.index
	}
	return i
}

// Published returns, for anybody, the index of the last entry that has ended.
func (s *State) Published() protocol.Index { return protocol.Index(s.views.published.Load()) }

// PublishedDigest returns, for anybody, the published index and the digest there.
func (s *State) PublishedDigest() (protocol.Index, Digest) {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	i := s.Published()
	return i, s.views.digests[i%digestsKept].digest
}

// DigestAt returns, for anybody, the digest at one of the last 1,024 indexes.
func (s *State) DigestAt(i protocol.Index) (Digest, bool) {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	d := s.views.digests[i%digestsKept]
	return d.digest, d.index == i && i <= s.Published()
}
