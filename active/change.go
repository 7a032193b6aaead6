package active

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// ProposeConfiguration changes who is active, by any number of seats in one
// step. next is the configuration to get to, never a joint one. If its voters
// differ from the current ones by one at most, then any two majorities meet,
// and it is appended as it is (dissertation, section 4.1). Otherwise the joint
// configuration that leads to it is, and whoever leads when that is committed
// appends next (the paper, section 6). Names, addresses, learners, the target
// and the lease may change along. It returns the index of the entry, which is
// the version of the configuration that it carries; it is in force at once, and
// committed later.
//
// version is that of the configuration that the change is meant for. Nothing
// has happened if it fails: with ErrNotLeader; with ErrStaleVersion; with
// ErrChangeInFlight while the former change is not complete, or the first entry
// of the leader's term not committed; with ErrNotLearner for a new voter that has
// not caught up as a learner; with ErrInvalid, also if the format level goes back, or rises
// by more than one or with something else.
func (m *Member) ProposeConfiguration(now protocol.Instant, version protocol.Index, next protocol.Configuration) (protocol.Index, error) {
	m.advance(now)
	if err := mayPropose(m); err != nil {
		return 0, err
	}
	if version != m.current.Index {
		return 0, protocol.ErrStaleVersion.With(fmt.Sprintf("meant for version %d of the configuration, which is at %d", version, m.current.Index))
	}
	if m.current.Index > m.hard.Commit || m.current.Configuration.Joint() {
		return 0, protocol.ErrChangeInFlight
	}
	if !m.hasCommittedOwnTerm() {
		// Ongaro 2015: two leaders with one change each, neither of which
		// knows the other's, may end up with majorities that do not meet. The
		// own term's first entry on a majority rules that out.
		return 0, protocol.ErrChangeInFlight.With("the leader has not committed an entry of its term yet")
	}
	if err := m.checkChange(next); err != nil {
		return 0, err
	}
	if !adjacent(m.current.Configuration, next) {
		next = m.current.Configuration.Toward(next)
		if err := next.Validate(); err != nil {
			return 0, protocol.ErrInvalid.Because(err)
		}
	}
	return m.appendConfiguration(next), nil
}

func (m *Member) appendConfiguration(c protocol.Configuration) protocol.Index {
	at := protocol.ConfigurationAt{Index: m.logTerms.LastIndex() + 1, Configuration: c}
	entry := protocol.Entry{Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(c)}
	m.appendOwn([]protocol.Entry{entry}, []protocol.ConfigurationAt{at})
	return at.Index
}

// finishChange leaves a joint configuration once it is committed, in a term of
// whichever leader: one that finds a change half done completes it with the
// first commit of its own term.
func (m *Member) finishChange() {
	if m.current.Index <= m.hard.Commit && m.current.Configuration.Joint() {
		m.appendConfiguration(m.current.Configuration.Final())
	}
}

// adjacent reports whether every majority of one configuration's voters has a
// member in common with every majority of the other's, because they differ by
// one voter at most.
func adjacent(a, b protocol.Configuration) bool {
	differ := 0
	for _, id := range a.Voters() {
		if !b.IsVoter(id) {
			differ++
		}
	}
	for _, id := range b.Voters() {
		if !a.IsVoter(id) {
			differ++
		}
	}
	return differ <= 1
}

// checkChange judges a change of the current configuration.
func (m *Member) checkChange(next protocol.Configuration) error {
	if err := next.Validate(); err != nil {
		return protocol.ErrInvalid.Because(err)
	}
	if next.Joint() {
		return protocol.ErrInvalid.With("a joint configuration is a way, not an aim")
	}
	if err := next.CheckLevel(m.current.Configuration); err != nil {
		return err
	}
	for _, line := range next.Members {
		p := m.lead.find(line.ID)
		if line.Suffrage == protocol.SuffrageVoter && p != nil && p.suffrage == protocol.SuffrageLearner && p.state == ProgressCatchUp {
			return protocol.ErrNotLearner.With(fmt.Sprintf("%s lacks a checkpoint", line.Label()))
		}
		if line.Suffrage == protocol.SuffrageVoter && !m.current.Configuration.IsVoter(line.ID) && !m.caughtUp(line.ID) {
			return protocol.ErrNotLearner.With(fmt.Sprintf("%s has not acknowledged, as a learner, the entry that made it one", line.Label()))
		}
	}
	return nil
}

// caughtUp reports whether a member may become a voter. One that is being
// brought a checkpoint may not: it would count for a quorum and acknowledge
// nothing. [S] It must have
// acknowledged, as a learner, an entry at or above the one that made it a
// learner. A passive takes committed entries only: were it made a voter, the
// entry that does so would need its acknowledgement to be committed, and its
// commit to be acknowledged.
func (m *Member) caughtUp(id protocol.MemberID) bool {
	p := m.lead.find(id)
	if p == nil || p.suffrage != protocol.SuffrageLearner || p.passive || p.state == ProgressCatchUp {
		return false
	}
	since := m.current.Index
	list := m.configs.All()
	for k := len(list) - 1; k >= 0; k-- {
		line, ok := list[k].Configuration.Find(id)
		if !ok || line.Suffrage != protocol.SuffrageLearner {
			break
		}
		since = list[k].Index
	}
	return p.match >= since
}
