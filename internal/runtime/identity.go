package runtime

import (
	"errors"
	"slices"
	"sync"

	"github.com/starlinghq/starling/internal/replica"
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

// sightings is replica.Sightings for many goroutines, and for more than one run:
// what it remembers it can write down.
type sightings struct {
	mu   sync.Mutex
	seen replica.Sightings
	// last is what was heard of each, and heard counts that. What of it is not
	// in the file is fresh, a start that was not known, or merely changed, a log
	// that has grown.
	last           map[protocol.MemberID]sighting
	heard          uint64
	fresh, changed bool
	written        protocol.Instant // when the file was
}

// sighting is what a member has said of its directory, and when.
type sighting struct {
	starts   uint64
	run      protocol.RunID
	sequence protocol.Sequence
	heard    uint64
}

func newSightings() *sightings { return &sightings{last: map[protocol.MemberID]sighting{}} }

// note remembers what s.seen has just taken. The lock is held.
func (s *sightings) note(id protocol.MemberID, starts uint64, run protocol.RunID, sequence protocol.Sequence) {
	last := s.last[id]
	same := last.starts == starts && last.run == run
	if same {
		sequence = max(sequence, last.sequence)
	}
	s.heard++
	s.fresh, s.changed = s.fresh || !same, s.changed || sequence > last.sequence
	s.last[id] = sighting{starts, run, sequence, s.heard}
	if len(s.last) >= 2*sightingsMax {
		s.forget()
	}
}

// forget drops those not heard for longest, as the file does: members come and
// go for years, each new one with an id of its own.
func (s *sightings) forget() {
	heard := make([]uint64, 0, len(s.last))
	for _, last := range s.last { // order does not matter: sorted below
		heard = append(heard, last.heard)
	}
	slices.Sort(heard)
	oldest := heard[len(heard)-sightingsMax]
	for id, last := range s.last { // order does not matter: each by itself
		if last.heard < oldest {
			delete(s.last, id)
			s.seen.Forget(id)
		}
	}
}

// hears remembers what a member says of its directory while it runs.
func (s *sightings) hears(from protocol.MemberID, m *protocol.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Hears(from, m)
	if last, known := s.last[from]; known && last.starts == m.Starts && last.run == m.Run {
		s.note(from, m.Starts, m.Run, m.Sequence)
	}
}

// check refuses a member whose directory has gone back.
func (s *sightings) check(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.seen.Check(peer)
	if err == nil {
		s.note(peer.Member, peer.Starts, peer.Run, peer.Sequence)
	}
	return err
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

// linkState hears that a link to another member has ended, or how an attempt to
// make one went. A member that is told that its directory has gone back must
// neither vote nor acknowledge: it stops.
func (m *Member) linkState(to protocol.MemberID, err error) {
	if err == nil {
		return
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.LinkLost(now, to) })
	if !errors.Is(err, protocol.ErrRolledBack) {
		return
	}
	if older := (olderPeer{}); errors.As(err, &older) {
		m.logger.Error("another member is refused", "err", err)
		return
	}
	m.fail(err)
}
