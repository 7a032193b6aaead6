package sim

import (
	"github.com/starlinghq/starling/internal/policy"
	"github.com/starlinghq/starling/protocol"
)

// grave is a member id whose disk is lost: nobody will ever answer to it.
type grave struct {
	name string
	// durable is what it had on disk at the end. What it acknowledged was
	// true when it did.
	durable *shadow
}

// tolerates reports whether the cluster must survive the loss of a member's
// disk: then, of every configuration that may be in force, each half still has a
// majority of members whose disks are whole, and so has what the policy may make
// of it before anybody notices the loss. Promises are made for the loss of a
// minority only.
func (s *cluster) tolerates(m *member) bool {
	if m.hurt || m.copied != nil || m.copies != nil {
		return false // it is lost already, or counts as lost
	}
	for _, other := range s.members {
		list := other.knew
		if other.up() {
			list = other.inForce()
		}
		for _, c := range list {
			if !s.bears(c.Configuration, m) || !s.bearsShrinking(c.Configuration, m) {
				return false
			}
		}
	}
	return true
}

// bearsShrinking reports whether a configuration with more voters than are
// wanted can still decide after the policy has taken seats away, if those that
// are lost keep theirs, as above: a leader does not miss a voter at once, and in
// a change that it has proposed without knowing the lost one counts. There may
// be two voters where the last of them is lost; where one is wanted, it is the
// leader.
func (s *cluster) bearsShrinking(c protocol.Configuration, without *member) bool {
	voters, wanted := c.Voters(), policy.Wanted(c)
	if len(voters) <= wanted || wanted < 2 {
		return true
	}
	lost := 0
	for _, id := range voters {
		if s.lost(id, without) {
			lost++
		}
	}
	return 2*(wanted-lost) > wanted
}

// lost reports whether a member's disk is lost, or is to be (without).
func (s *cluster) lost(id protocol.MemberID, without *member) bool {
	if _, gone := s.graves[id]; gone || without != nil && without.id == id {
		return true
	}
	m := s.byID(id)
	return m != nil && (m.hurt || m.copied != nil || m.suspended())
}

// bears reports whether a configuration can still decide, without the disks
// that are lost, the states that are wrong, and one more member (nil: none). A
// learner that is lost counts as a voter: it may be made one before anybody
// notices.
func (s *cluster) bears(c protocol.Configuration, without *member) bool {
	for _, half := range []func(protocol.ActiveMember) bool{
		func(l protocol.ActiveMember) bool {
			return l.Suffrage == protocol.SuffrageVoter || l.Suffrage == protocol.SuffrageLearner && s.lost(l.ID, without)
		},
		func(l protocol.ActiveMember) bool { return l.Outgoing },
	} {
		whole, all := 0, 0
		for _, line := range c.Members {
			if !half(line) {
				continue
			}
			all++
			if !s.lost(line.ID, without) {
				whole++
			}
		}
		if all > 0 && 2*whole <= all {
			return false
		}
	}
	return true
}

// bury makes the member's id one that nobody answers to any more.
func (s *cluster) bury(m *member) {
	s.graves[m.id] = grave{name: m.label(), durable: m.log.durable.clone()}
	m.knew = nil
}

// buried returns who of a configuration will never be again.
func (s *cluster) buried(c protocol.Configuration) (list []protocol.MemberID) {
	for _, line := range c.Members {
		if _, gone := s.graves[line.ID]; gone {
			list = append(list, line.ID)
		}
	}
	return list
}

// wipe gives a member that is down an empty disk. It comes back as another
// member, which is in no configuration; somebody must remove the old one.
func (s *supervisor) wipe(m *member) error {
	s.counts.add(countWiped, 1)
	m.tell(colorFault, "x its disk is empty: a new member")
	s.bury(m)
	m.generation++
	for k := range m.id {
		m.id[k] = byte(s.random.members.Uint64())
	}
	m.log = shadows{name: m.name}
	m.role, m.starts, m.leader = m.beginsAs(), 0, 0
	m.power, m.full, m.shut, m.ailing = false, false, false, ailing{witnessed: &m.witnessed}
	m.known, m.given = nil, nil
	return m.disk.init(&s.stage, m, nil)
}
