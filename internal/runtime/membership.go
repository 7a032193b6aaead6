package runtime

import (
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// serveMembershipChange hands a membership change, or a transfer, to the loop. It is
// answered when the change is committed, or when the leadership has ended, or at once with
// why nothing happened.
func (m *Member) serveMembershipChange(s *protocol.MembershipChange, reply func(protocol.Result)) func() {
	if b := m.dirs.barred.Load(); b != nil {
		reply(protocol.Failed(protocol.ErrNotServing.With(b.err.Error())))
		return func() {}
	}
	return m.inLoop(reply, func(id uint64) {
		if s.Transfer {
			m.replica.Transfer(m.clock.Now(), id, s.Transferee)
			return
		}
		if !s.Impose.IsZero() {
			replica.Impose(m.replica, m.clock.Now(), id, s.Impose)
			return
		}
		m.replica.Change(m.clock.Now(), id, replica.Change{
			Version: s.Version, Promote: s.Promote, Demote: s.Demote, Remove: s.Remove, Absent: s.Absent, Target: s.Target, Autopilot: s.Autopilot, StateBytes: s.StateBytes,
		})
	})
}

// serveAutopilot has the loop say what its policy goes by and said last, and who has
// a seat, by the log. A majority has confirmed after the question that this member leads, or its lease says so:
// another one may have taken the lead long ago, and changed seats since. The state is not
// waited for: where it is stuck, seats have to be changed all the more.
func (m *Member) serveAutopilot(respond func(*protocol.AutopilotReport), failed func(protocol.Result)) (forget func()) {
	id := m.answers.Read(func(_ protocol.Index, err error) {
		var report *protocol.AutopilotReport
		if err == nil { // this is the loop
			report, err = m.replica.Autopilot()
		}
		if err != nil {
			failed(protocol.Failed(err))
			return
		}
		report.Names = namesIn(m.status())
		respond(report)
	})
	if id == 0 {
		failed(protocol.Failed(m.stopped()))
		return func() {}
	}
	ok := m.mailbox.put(func(in *mail) {
		in.calls = append(in.calls, func() { m.replica.Prove(m.clock.Now(), id) })
	})
	if !ok && m.answers.Forget(id) {
		failed(protocol.Failed(m.stopped()))
	}
	return func() { m.answers.Forget(id) }
}
