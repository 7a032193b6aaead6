package active

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// ProposeConfiguration changes who is active, by one seat at a time: then a
// majority of the old voters and one of the new ones always have a member in
// common (dissertation, section 4.1). Names, addresses and the target may
// change along. It returns the index of the entry, which is the version of the
// new configuration; the configuration is in force at once, and committed
// later.
//
// version is that of the configuration that the change is meant for. Nothing
// has happened if it fails: with ErrNotLeader; with ErrStaleVersion; with
// ErrChangeInFlight while the former change, or the first entry of the
// leader's term, is not committed; with ErrNotLearner for a new voter that has
// not caught up as a learner; with ErrInvalid.
func (m *Member) ProposeConfiguration(now protocol.Instant, version protocol.Index, next protocol.Configuration) (protocol.Index, error) {
	m.advance(now)
	if m.state != StateLeader {
		return 0, protocol.ErrNotLeader
	}
	if version != m.current.Index {
		return 0, protocol.ErrStaleVersion.With(fmt.Sprintf("meant for version %d of the configuration, which is at %d", version, m.current.Index))
	}
	if m.current.Index > m.hard.Commit {
		return 0, protocol.ErrChangeInFlight
	}
	if !m.settled() {
		// Ongaro 2015: two leaders with one change each, neither of which
		// knows the other's, may end up with majorities that do not meet. The
		// own term's first entry on a majority rules that out.
		return 0, protocol.ErrChangeInFlight.With("the leader has not committed an entry of its term yet")
	}
	if err := m.checkChange(next); err != nil {
		return 0, err
	}
	at := protocol.ConfigurationAt{Index: m.shape.LastIndex() + 1, Configuration: next}
	entry := protocol.Entry{Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(next)}
	m.appendOwn([]protocol.Entry{entry}, []protocol.ConfigurationAt{at})
	return at.Index, nil
}

// checkChange judges a change of the current configuration.
func (m *Member) checkChange(next protocol.Configuration) error {
	if err := next.Validate(); err != nil {
		return protocol.ErrInvalid.Because(err)
	}
	moved := 0
	for _, line := range m.current.Configuration.Members {
		if !next.Names(line.ID) {
			moved++
		}
	}
	for _, line := range next.Members {
		was, named := m.current.Configuration.Find(line.ID)
		if named && was.Seat == line.Seat {
			continue
		}
		moved++
		if line.Seat == protocol.SeatVoter && !m.caughtUp(line.ID) {
			return protocol.ErrNotLearner.With(fmt.Sprintf("%s has not acknowledged, as a learner, the entry that made it one", line.Label()))
		}
	}
	if moved > 1 {
		return protocol.ErrInvalid.With(fmt.Sprintf("%d members change their seats, one at a time may", moved))
	}
	return nil
}

// caughtUp reports whether a member may become a voter. [S] It must have
// acknowledged, as a learner, an entry at or above the one that made it a
// learner. A passive takes committed entries only: were it made a voter, the
// entry that does so would need its acknowledgement to be committed, and its
// commit to be acknowledged.
func (m *Member) caughtUp(id protocol.MemberID) bool {
	p := m.lead.find(id)
	if p == nil || p.seat != protocol.SeatLearner || p.passive {
		return false
	}
	since := m.current.Index
	list := m.configs.All()
	for k := len(list) - 1; k >= 0; k-- {
		line, ok := list[k].Configuration.Find(id)
		if !ok || line.Seat != protocol.SeatLearner {
			break
		}
		since = list[k].Index
	}
	return p.match >= since
}
