package active

import "github.com/starlinghq/starling/protocol"

// SetQuarantined says that the state of this member's owner has diverged from
// the other members', or that it has been healed. The log is as sound as before.
//
// [S] Meanwhile the member votes and stores the log as ever, so that it does not
// cost the quorum, but does not campaign, not even when it is told to
// (TimeoutNow): what it would answer as a leader comes from a bad state. A
// leader hands over and steps down.
func (m *Member) SetQuarantined(now protocol.Instant, quarantined bool) {
	m.advance(now)
	m.quarantined = quarantined
	switch {
	case !quarantined:
	case m.state == StateLeader:
		m.nameHeir()
		m.stepDown("its state has diverged")
	case m.state != StateFollower:
		m.becomeFollower(m.hard.Term, protocol.MemberID{})
	}
}
