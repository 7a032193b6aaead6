package runtime

import (
	"errors"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/protocol"
)

// hello is how this member introduces itself.
func (m *Member) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: m.identity.Cluster, Member: m.identity.Member, Name: m.identity.Name,
		Starts: m.identity.Starts, Run: m.run, Sequence: m.log.DurableSequence(),
	}
}

// standing is what this member says of its directory on streams that last.
func (m *Member) standing() *protocol.Standing {
	return &protocol.Standing{Starts: m.identity.Starts, Run: m.run, Sequence: m.log.DurableSequence()}
}

// sightings remembers how far each member's directory had come when it was
// seen last. A directory that has gone back was restored from an old copy: it
// has forgotten votes and acknowledged entries, and its member must not take
// part under its old id.
type sightings struct {
	mu   sync.Mutex
	seen map[protocol.MemberID]sighting
}

type sighting struct {
	starts   uint64
	run      protocol.RunID
	sequence protocol.Sequence
}

func newSightings() *sightings { return &sightings{seen: map[protocol.MemberID]sighting{}} }

// hears remembers what a member says of its directory while it runs.
func (s *sightings) hears(from protocol.MemberID, m *protocol.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.seen[from]
	if m.Starts == last.starts && m.Run == last.run {
		last.sequence = max(last.sequence, m.Sequence)
		s.seen[from] = last
	}
}

// check refuses a member whose directory has gone back: it was opened fewer
// times than before, or as often but by another run, or its log has forgotten
// what was durable.
func (s *sightings) check(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.seen[peer.Member]
	// One run has several connections, and what it said on one may be overtaken
	// by what it says on another.
	same := last.run != 0 && peer.Starts == last.starts && peer.Run == last.run
	again := last.run != 0 && peer.Starts == last.starts && peer.Run != last.run
	if peer.Starts < last.starts || again || (!same && peer.Sequence < last.sequence) {
		return protocol.ErrRolledBack.With(fmt.Sprintf(
			"the directory of member %s (%s) is older than what was seen of it before (start %d and record %d, seen %d and %d): it was restored from an old copy, which has forgotten votes and entries; start it with an empty directory and another name",
			peer.Name, peer.Member.Short(), peer.Starts, peer.Sequence, last.starts, last.sequence))
	}
	s.seen[peer.Member] = sighting{peer.Starts, peer.Run, max(peer.Sequence, last.sequence)}
	return nil
}

// olderPeer is our own refusal of another member, as opposed to its refusal of
// us.
type olderPeer struct{ error }

// Unwrap returns the refusal.
func (e olderPeer) Unwrap() error { return e.error }

// checkPeer judges the member that answers a link of ours.
func (m *Member) checkPeer(peer protocol.Hello) error {
	if err := m.seen.check(peer); err != nil {
		return olderPeer{err}
	}
	return nil
}

// linkState hears how an attempt to reach another member went. A member that
// is told that its directory has gone back must neither vote nor acknowledge:
// it stops.
func (m *Member) linkState(err error) {
	if err == nil || !errors.Is(err, protocol.ErrRolledBack) {
		return
	}
	if older := (olderPeer{}); errors.As(err, &older) {
		m.logger.Error("another member is refused", "err", err)
		return
	}
	m.fail(err)
}
