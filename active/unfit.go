package active

import "github.com/starlinghq/starling/protocol"

// SetUnfit says why this member's owner could answer nobody as a leader, or that it
// can (empty): its state has diverged from the others', or it cannot apply what is
// committed. The log is as sound as before.
//
// [S] Meanwhile the member votes and stores the log as ever, so that it does not
// cost the quorum, but does not campaign, not even when it is told to
// (TimeoutNow): what it would answer as a leader comes from a bad state, or never. A
// leader hands over and steps down. It says so to who leads, which then hands over
// to another.
func (m *Member) SetUnfit(now protocol.Instant, why string) {
	m.advance(now)
	m.unfit = why
	switch {
	case why == "":
	case m.state == StateLeader:
		m.nameTransferee()
		m.stepDown(why)
	case m.state != StateFollower:
		m.becomeFollower(m.hard.Term, protocol.MemberID{})
	}
}
