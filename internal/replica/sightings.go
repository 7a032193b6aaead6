package replica

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Sightings remembers how far each member's directory had come when it was
// seen last. A directory that has gone back was restored from an old copy: it
// has forgotten votes and acknowledged entries, and its member must not take
// part under its old id. The zero value remembers nothing. It belongs to one
// goroutine at a time.
//
// [S] What is remembered rises by Raise and Hears alone, whose caller has dialled
// the member at the address that the configuration has for it. A greeting from
// anywhere is only checked: whoever could raise what is remembered by a greeting
// in a member's name could shut that member out for good.
type Sightings struct {
	seen map[protocol.MemberID]standing
	// condemned are runs of which there is proof that their directory has gone back.
	condemned map[protocol.MemberID]protocol.RunID
}

// standing is what a member has said of its directory.
type standing struct {
	starts   uint64
	run      protocol.RunID
	sequence protocol.Sequence
}

// Check judges a member by its handshake. It refuses, with
// protocol.ErrRolledBack, a member whose directory has gone back: it was opened
// fewer times than before, or as often but by another run, or its log has
// forgotten what was durable. What the run that was seen last says of itself is
// never refused: two members that dial each other at once may hear of each other
// in any order.
func (s *Sightings) Check(peer protocol.Hello) error {
	if run, known := s.condemned[peer.Member]; known && run == peer.Run {
		return protocol.ErrRolledBack.With(fmt.Sprintf(
			"the directory of member %s (%s) was put back: it lacks entries that its member has acknowledged to this leader. %s",
			peer.Name, peer.Member.Short(), WayOut(peer.Name)))
	}
	last, known := s.seen[peer.Member]
	if !known || peer.Starts == last.starts && peer.Run == last.run {
		return nil
	}
	again := peer.Starts == last.starts && last.run != 0 && peer.Run != last.run
	if peer.Starts >= last.starts && !again && peer.Sequence >= last.sequence {
		return nil
	}
	return protocol.ErrRolledBack.With(fmt.Sprintf(
		"the directory of member %s (%s) was put back to an older copy: %s; it has forgotten votes or entries that others count on. %s",
		peer.Name, peer.Member.Short(), goneBack(peer, last), WayOut(peer.Name)))
}

// goneBack says which numbers give a directory away.
func goneBack(peer protocol.Hello, last standing) string {
	switch {
	case peer.Starts < last.starts:
		return fmt.Sprintf("this is its start %d, and start %d was seen", peer.Starts, last.starts)
	case peer.Sequence < last.sequence:
		return fmt.Sprintf("at its start %d its log ends with record %d, and record %d was seen at start %d", peer.Starts, peer.Sequence, last.sequence, last.starts)
	}
	return fmt.Sprintf("another run had its start %d", peer.Starts)
}

// WayOut is what to do about a directory that was put back.
func WayOut(name string) string {
	return fmt.Sprintf("Move it away, give its seat up with `starling remove %s` at a running member, and start with an empty directory; "+
		"if too few of the others are left to lead, `starling recover` makes a new cluster from the best directory that there is", name)
}

// Raise remembers the handshake of a member that was reached at the address that
// the configuration has for it, and that Check has passed.
func (s *Sightings) Raise(peer protocol.Hello) {
	last := s.seen[peer.Member]
	if peer.Starts == last.starts && peer.Run == last.run {
		peer.Sequence = max(peer.Sequence, last.sequence)
	}
	if s.seen == nil {
		s.seen = map[protocol.MemberID]standing{}
	}
	s.seen[peer.Member] = standing{peer.Starts, peer.Run, peer.Sequence}
}

// Hears remembers what a member says of its directory while it runs, on the
// connection of which Raise was told.
func (s *Sightings) Hears(from protocol.MemberID, m *protocol.Standing) {
	last, known := s.seen[from]
	if known && m.Starts == last.starts && m.Run == last.run {
		last.sequence = max(last.sequence, m.Sequence)
		s.seen[from] = last
	}
}

// Condemn remembers a run of which this member, as the leader, has proof that its
// directory was put back. A later run is judged by what was seen: the right
// directory may be found.
func (s *Sightings) Condemn(id protocol.MemberID, run protocol.RunID) {
	if s.condemned == nil {
		s.condemned = map[protocol.MemberID]protocol.RunID{}
	}
	s.condemned[id] = run
}

// Seen returns how often a member's directory had been opened and how far its
// log was durable when it was seen last; zeros if it never was.
func (s *Sightings) Seen(id protocol.MemberID) (starts uint64, sequence protocol.Sequence) {
	last := s.seen[id]
	return last.starts, last.sequence
}

// Forget drops what was seen of a member.
func (s *Sightings) Forget(id protocol.MemberID) {
	delete(s.seen, id)
	delete(s.condemned, id)
}
