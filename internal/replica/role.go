package replica

import (
	"fmt"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/passive"
	"github.com/starlinghq/starling/protocol"
)

// judge makes the role follow the log, once per step, and reports whether it
// switched.
func (r *Replica) judge(now protocol.Instant) bool {
	confs := r.configurations()
	want := confs.RoleOf(r.cfg.ID, r.commit, r.shape().Empty())
	if want == r.role || want == protocol.RoleNone {
		return false
	}
	if want == protocol.RoleActive {
		r.becomeActive(now)
		return true
	}
	return r.becomePassive(now)
}

// becomeActive starts Raft over the log that the passive role kept.
func (r *Replica) becomeActive(now protocol.Instant) {
	p := r.passive
	r.disk.settle(p.HardState(), p.Shape(), r.tail)
	r.requests.failReads(r)
	r.passive = nil
	r.role = protocol.RoleActive
	r.epoch++
	r.active = active.New(now, r.cfg.Active, active.Start{
		State:          p.HardState(),
		Shape:          p.Shape().Clone(),
		Configurations: p.Configurations().Clone(),
		LastTime:       p.LastTime(),
		Taking:         true,
	}, appendLog{r})
	r.active.SetWallAhead(r.wallAhead)
	if r.barred {
		r.active.Silence(now)
	}
	r.setInstalling(now, r.install.phase != installNone)
	r.apply.unfit = ""
	r.apply.tellFit(now, r)
	r.event(protocol.EventBecameActive, "the log names this member")
}

// becomePassive drops the suffix that is not committed and follows. It is put
// off while the log sum at the commit index is not in memory, which the tail's
// bounds rule out.
func (r *Replica) becomePassive(now protocol.Instant) bool {
	a := r.active
	if err := r.startPassive(now, a.HardState(), a.Shape().Clone(), a.Configurations().Clone(), a.LastTime()); err != nil {
		return false
	}
	r.unheeded += a.Unheeded()
	r.active = nil
	r.role = protocol.RolePassive
	r.heardOf(now, a.Term(), a.Leader())
	r.requests.leaderLost(r)
	r.requests.failReads(r)
	r.requests.changesLost(r, errLeaderLost)
	r.requests.unproven(func(*proof) bool { return true }, r.notLeading(), r)
	r.event(protocol.EventBecamePassive, "no configuration from the commit index on names this member")
	return true
}

// startPassive makes the passive role over the committed prefix of a log.
func (r *Replica) startPassive(now protocol.Instant, state protocol.HardState, shape protocol.Shape, confs protocol.Configurations, last protocol.ClusterTime) error {
	sum, ok := r.tail.sumAt(r.commit)
	if !ok {
		return fmt.Errorf("replica: the log sum at the commit index %d is not in memory (%d..%d)", r.commit, r.tail.first, r.tail.last())
	}
	state.Commit = r.commit
	if shape.LastIndex() > r.commit {
		shape.TruncateAfter(r.commit)
		confs.TruncateAfter(r.commit)
		r.disk.change(&protocol.Delta{Truncate: true, After: r.commit})
		r.tail.truncate(r.commit)
		r.unreadable.truncate(r.commit)
	}
	r.disk.settle(state, &shape, r.tail)
	r.epoch++
	r.passive = passive.New(now, passive.Config{ID: r.cfg.ID, Signed: r.signed()}, passive.Start{
		State: state, Shape: shape, Configurations: confs, LastSum: sum, LastTime: last,
	})
	return nil
}

func (r *Replica) event(kind protocol.EventKind, text string) {
	state := r.hardState()
	r.out.Events = append(r.out.Events, protocol.Event{Kind: kind, Term: state.Term, Index: r.commit, Text: text})
}

func (r *Replica) hardState() protocol.HardState {
	if r.role == protocol.RoleActive {
		return r.active.HardState()
	}
	return r.passive.HardState()
}
