package replica

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Watermarks remembers how far each member's directory had come when it was
// seen last. A directory that has gone back was restored from an old copy: it
// has forgotten votes and acknowledged entries, and its member must not take
// part under its old id. The zero value remembers nothing. It belongs to one
// goroutine at a time.
//
// [S] What is remembered rises by Raise and OnWatermark alone, whose caller has dialled
// the member at the address that the configuration has for it. A greeting from
// anywhere is only checked: whoever could raise what is remembered by a greeting
// in a member's name could shut that member out for good.
type Watermarks struct {
	seen map[protocol.MemberID]protocol.Watermark
	// condemned are runs of which there is proof that their directory has gone back.
	condemned map[protocol.MemberID]protocol.RunID
}

// Check judges a member by its handshake. It refuses, with
// protocol.ErrRolledBack, a member whose directory has gone back: it was opened
// fewer times than before, or as often but by another run, or its log has
// forgotten what was durable. What the run that was seen last says of itself is
// never refused: two members that dial each other at once may hear of each other
// in any order.
func (s *Watermarks) Check(peer protocol.Hello) error {
	if run, known := s.condemned[peer.Member]; known && run == peer.Run {
		return protocol.ErrRolledBack.With(fmt.Sprintf(
			"the directory of member %s (%s) was put back: it lacks entries that its member has acknowledged to this leader. %s",
			peer.Name, peer.Member.Short(), protocol.WayOut(peer.Name)))
	}
	last, known := s.seen[peer.Member]
	if !known || peer.Starts == last.Starts && peer.Run == last.Run {
		return nil
	}
	again := peer.Starts == last.Starts && last.Run != 0 && peer.Run != last.Run
	if peer.Starts >= last.Starts && !again && peer.Sequence >= last.Sequence {
		return nil
	}
	return protocol.ErrRolledBack.With(fmt.Sprintf(
		"the directory of member %s (%s) was put back to an older copy: %s; it has forgotten votes or entries that others count on. %s",
		peer.Name, peer.Member.Short(), goneBack(peer, last), protocol.WayOut(peer.Name)))
}

// goneBack says which numbers give a directory away.
func goneBack(peer protocol.Hello, last protocol.Watermark) string {
	switch {
	case peer.Starts < last.Starts:
		return fmt.Sprintf("this is its start %d, and start %d was seen", peer.Starts, last.Starts)
	case peer.Sequence < last.Sequence:
		return fmt.Sprintf("at its start %d its log ends with record %d, and record %d was seen at start %d", peer.Starts, peer.Sequence, last.Sequence, last.Starts)
	}
	return fmt.Sprintf("another run had its start %d", peer.Starts)
}

// Raise remembers the handshake of a member that was reached at the address that
// the configuration has for it, and that Check has passed.
func (s *Watermarks) Raise(peer protocol.Hello) {
	last := s.seen[peer.Member]
	if peer.Starts == last.Starts && peer.Run == last.Run {
		peer.Sequence = max(peer.Sequence, last.Sequence)
	}
	if s.seen == nil {
		s.seen = map[protocol.MemberID]protocol.Watermark{}
	}
	s.seen[peer.Member] = protocol.Watermark{Starts: peer.Starts, Run: peer.Run, Sequence: peer.Sequence}
}

// OnWatermark remembers what a member says of its directory while it runs, on the
// connection of which Raise was told.
func (s *Watermarks) OnWatermark(from protocol.MemberID, m *protocol.Watermark) {
	last, known := s.seen[from]
	if known && m.Starts == last.Starts && m.Run == last.Run {
		last.Sequence = max(last.Sequence, m.Sequence)
		s.seen[from] = last
	}
}

// Condemn remembers a run of which this member, as the leader, has proof that its
// directory was put back. A later run is judged by what was seen: the right
// directory may be found.
func (s *Watermarks) Condemn(id protocol.MemberID, run protocol.RunID) {
	if s.condemned == nil {
		s.condemned = map[protocol.MemberID]protocol.RunID{}
	}
	s.condemned[id] = run
}

// Seen returns what a member last said of its directory; zeros if it never did.
func (s *Watermarks) Seen(id protocol.MemberID) protocol.Watermark { return s.seen[id] }

// Forget drops what was seen of a member.
func (s *Watermarks) Forget(id protocol.MemberID) {
	delete(s.seen, id)
	delete(s.condemned, id)
}
