package runtime

import (
	"context"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// digestPatience is how long a member waits to come to the index at which its
// digest is asked for.
const digestPatience = 2 * time.Second

// serveDigest answers with the digest of the state at an index, once that is
// applied, or with what there is when patience ends. The returned function says
// that nobody waits any more.
func (m *Member) serveDigest(ctx context.Context, at protocol.Index, answer func(*protocol.DigestReport), failed func(protocol.Result)) (forget func()) {
	if !m.levels.enter() {
		failed(protocol.Failed(protocol.ErrOverloaded.With("too many requests wait for this member's state; try again later")))
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, digestPatience)
	stop := context.AfterFunc(m.life, cancel)
	go func() {
		defer m.levels.leave()
		defer cancel()
		defer stop()
		d := &protocol.DigestReport{Index: at}
		if at == 0 {
			i, digest := m.machine.Digest()
			d.Index, d.Known, d.Digest = i, i > 0, digest.Bytes()
		} else if err := m.machine.WaitApplied(ctx, at); err == nil {
			digest, known := m.machine.DigestAt(at)
			d.Known, d.Digest = known, digest.Bytes()
		}
		m.inTurn(func() { m.describeDigest(d); answer(d) }, failed)
	}()
	return cancel
}

// describeDigest says of a digest whose it is. Only the loop calls it.
func (m *Member) describeDigest(d *protocol.DigestReport) {
	s := m.replica.Status(m.clock.Now())
	d.ID, d.Name, d.Role, d.Leader, d.Applied = m.identity.Member, m.identity.Name, s.Role.String(), s.Leads, s.Applied
	d.Sum, d.SumKnown = m.replica.SumAt(d.Index)
	d.State = "serving"
	err := m.readyNow(&s.Situation, &s.Position)
	switch {
	case s.Quarantine != "":
		d.State, d.Reason, d.Known = "quarantined", s.Quarantine, false
	case s.Installing != 0:
		d.State, d.Reason = "installing", "a checkpoint comes from other members"
	case err != nil:
		d.State, d.Reason = "not-serving", err.Error()
	case s.Disputed != "":
		d.State, d.Reason = "disputed", s.Disputed
	}
}
