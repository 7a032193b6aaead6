package replica

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/passive"
	"github.com/starlinghq/starling/protocol"
)

// role is anything that turns events into a Ready, and keeps the log meanwhile. There
// are two: an active decides with others what is committed, a passive learns it. Nobody
// asks which one is in force, but for reports; what differs is a question below.
//
// A member without a role does not run: New refuses a log that does not say who was
// active, and later such a log leaves the role as it is. A reserve is no third one: its
// log is a passive's, and empty; it only waits to be asked (see reserve.go).
type role interface {
	core
	signals

	// kind and raft say which role it is, for reports.
	kind() protocol.Role
	raft() string
	// waits reports whether it is a reserve's: nobody has asked it to follow yet. wait
	// makes it one, or ends that.
	waits() bool
	wait(on bool)
	// leading returns the core of a leader, or nil: only that one can propose.
	leading() *active.Member
	// knows returns who leads, and in which term, by the core's own knowledge. Without
	// that, ok is false, the member goes by what it hears.
	knows() (leader protocol.MemberID, term protocol.Term, ok bool)
	// Silent returns the voters that leave pre-votes unanswered, whatever the membership
	// says of them: a process that stands still is alive there for several seconds.
	Silent() []protocol.MemberID
	// step takes a message for the core. changes says that the log may be changed.
	step(now protocol.Instant, from protocol.MemberID, m protocol.Message, changes bool)
	// readIndex asks for a read index by the core, or returns false: then this member
	// has to ask the leader.
	readIndex(now protocol.Instant, m protocol.ReadIndex) bool
	// takeRun offers a run of committed entries from gossip. It is refused if it contradicts
	// the log; serve asks for the role's Ready at once, for the next run to join.
	takeRun(now protocol.Instant, run gossip.Run, l *log) (serve, refused bool)
	// holds says that the log has what a checkpoint of the leader would bring.
	holds(now protocol.Instant, b protocol.Begin)
	// heeds returns those whose word on what is committed counts, and whether that of
	// others does, too, because none of those is left. ok is false if signatures, or
	// what a newcomer can know, decide.
	heeds(now protocol.Instant) (named []protocol.MemberID, others, ok bool)
}

// core is what the cores of the roles have in common.
type core interface {
	Tick(now protocol.Instant)
	Deadline() protocol.Instant
	Persisted(now protocol.Instant, id protocol.WriteID)
	Install(now protocol.Instant, b protocol.Begin)
	DropHead(i protocol.Index, sum protocol.LogSum)
	HasReady() bool
	Ready() protocol.Ready
	HardState() protocol.HardState
	LogTerms() *protocol.LogTerms
	Configurations() *protocol.Configurations
	LastTime() protocol.ClusterTime
}

// signals are what Raft must know of the member around it, and what only Raft knows.
type signals interface {
	SetWallAhead(d time.Duration)
	SetInstalling(now protocol.Instant, on bool)
	SetUnfit(now protocol.Instant, why string)
	SetWaiting(now protocol.Instant, waiting bool)
	SetUnreadable(now protocol.Instant, upTo protocol.Index)
	Silence(now protocol.Instant)
	LetIn(now protocol.Instant, id protocol.MemberID, run protocol.RunID)
	IsLeaderless(now protocol.Instant) bool
	Unheeded() uint64
}

// activeRole is the role of a member that the log names: Raft.
type activeRole struct{ *active.Member }

func (activeRole) kind() protocol.Role { return protocol.RoleActive }
func (a activeRole) raft() string      { return a.State().String() }
func (activeRole) waits() bool         { return false }
func (activeRole) wait(bool)           {}

func (a activeRole) leading() *active.Member {
	if a.State() != active.StateLeader {
		return nil
	}
	return a.Member
}

func (a activeRole) knows() (protocol.MemberID, protocol.Term, bool) {
	return a.Leader(), a.Term(), true
}

// step implements role: a core whose log must not change knows it by SetInstalling.
func (a activeRole) step(now protocol.Instant, from protocol.MemberID, m protocol.Message, _ bool) {
	a.Step(now, from, m)
}

func (a activeRole) readIndex(now protocol.Instant, m protocol.ReadIndex) bool {
	a.ReadIndex(now, m)
	return true
}

// takeRun implements role: an active that is leaderless takes over a run. What it holds above its
// commit index does not count as held; the log sum there says whether the run joins.
func (a activeRole) takeRun(now protocol.Instant, run gossip.Run, l *log) (serve, refused bool) {
	first := run.Entries[0].Index
	if first > l.commit+1 || run.Entries[len(run.Entries)-1].Index <= l.commit {
		return false, false
	}
	sum := run.Before
	for i := range run.Entries[:l.commit+1-first] {
		sum = sum.Next(run.Entries[i].Raw)
	}
	mine, known := l.tail.sumAt(l.commit)
	if !known || sum != mine {
		return false, true
	}
	v := a.CatchUp(now, active.Run{From: run.Origin, Entries: run.Entries, Commit: run.Commit})
	return v == active.CaughtUp, v == active.Mismatch
}

func (a activeRole) holds(now protocol.Instant, b protocol.Begin) { a.Install(now, b) }

func (a activeRole) heeds(now protocol.Instant) ([]protocol.MemberID, bool, bool) {
	return a.Named(), a.Lost(now), true
}

// passiveRole is the role of a member that follows.
type passiveRole struct {
	*passive.Member
	nonActive
	reserve bool
}

func (*passiveRole) kind() protocol.Role { return protocol.RolePassive }
func (*passiveRole) raft() string        { return "none" }
func (p *passiveRole) waits() bool       { return p.reserve }
func (p *passiveRole) wait(on bool)      { p.reserve = on }

func (p *passiveRole) step(now protocol.Instant, from protocol.MemberID, m protocol.Message, changes bool) {
	if changes {
		p.Step(now, from, m)
	}
}

func (p *passiveRole) takeRun(now protocol.Instant, run gossip.Run, _ *log) (serve, refused bool) {
	v := p.Take(now, passive.Run{From: run.From, Origin: run.Origin, Before: run.Before, Entries: run.Entries, Commit: run.Commit})
	return false, v == passive.Mismatch
}

// nonActive answers for whoever has no seat: it neither leads nor knows who does, and
// nothing that Raft must know matters to it.
type nonActive struct{}

func (nonActive) leading() *active.Member                                   { return nil }
func (nonActive) knows() (id protocol.MemberID, t protocol.Term, ok bool)   { return id, t, false }
func (nonActive) Silent() []protocol.MemberID                               { return nil }
func (nonActive) readIndex(protocol.Instant, protocol.ReadIndex) bool       { return false }
func (nonActive) holds(protocol.Instant, protocol.Begin)                    {}
func (nonActive) heeds(protocol.Instant) ([]protocol.MemberID, bool, bool)  { return nil, false, false }
func (nonActive) SetWallAhead(time.Duration)                                {}
func (nonActive) SetInstalling(protocol.Instant, bool)                      {}
func (nonActive) SetUnfit(protocol.Instant, string)                         {}
func (nonActive) SetWaiting(protocol.Instant, bool)                         {}
func (nonActive) SetUnreadable(protocol.Instant, protocol.Index)            {}
func (nonActive) Silence(protocol.Instant)                                  {}
func (nonActive) LetIn(protocol.Instant, protocol.MemberID, protocol.RunID) {}
func (nonActive) IsLeaderless(protocol.Instant) bool                        { return false }
func (nonActive) Unheeded() uint64                                          { return 0 }

// reconcileRole makes the role follow the log, once per step, and reports whether it
// switched.
func (r *Replica) reconcileRole(now protocol.Instant) bool {
	confs := r.log.configurations()
	want := confs.RoleOf(r.cfg.ID, r.log.commit, r.log.logTerms().Empty())
	switch want {
	case protocol.RoleNone, r.log.role.kind():
		return false
	case protocol.RoleActive:
		r.becomeActive(now)
		return true
	}
	return r.becomePassive(now)
}

// becomeActive starts Raft over the log that the passive role kept.
func (r *Replica) becomeActive(now protocol.Instant) {
	p := r.log.role
	r.disk.settle(p.HardState(), p.LogTerms(), r.log.tail)
	r.reads.failAll()
	r.disk.epoch++
	a := active.New(now, r.cfg.Active, active.Start{
		State:          p.HardState(),
		LogTerms:       p.LogTerms().Clone(),
		Configurations: p.Configurations().Clone(),
		LastTime:       p.LastTime(),
		Taking:         true,
	}, appendLog{&r.log})
	r.log.role = activeRole{a}
	a.SetWallAhead(r.wallAhead)
	if r.barred {
		a.Silence(now)
	}
	r.install.tell(now, r.install.Phase != install.None)
	r.apply.unfit = ""
	r.apply.tellFit(now)
	r.out.event(protocol.EventBecameActive, "the log names this member")
}

// becomePassive drops the suffix that is not committed and follows. It is put
// off while the log sum at the commit index is not in memory, which the tail's
// bounds rule out.
func (r *Replica) becomePassive(now protocol.Instant) bool {
	a := r.log.role
	if err := r.startPassive(now, a.HardState(), a.LogTerms().Clone(), a.Configurations().Clone(), a.LastTime()); err != nil {
		return false
	}
	r.hearing.unheeded += a.Unheeded()
	leader, term, _ := a.knows()
	r.hearing.heardOf(now, term, leader)
	r.commands.leaderLost()
	r.reads.failAll()
	r.membershipChanges.changesLost(errLeaderLost)
	r.reads.unproven(func(*proof) bool { return true }, r.hearing.notLeading())
	r.out.event(protocol.EventBecamePassive, "no configuration from the commit index on names this member")
	return true
}

// startPassive makes the passive role over the committed prefix of a log.
func (r *Replica) startPassive(now protocol.Instant, state protocol.HardState, logTerms protocol.LogTerms, confs protocol.Configurations, last protocol.ClusterTime) error {
	l := &r.log
	sum, ok := l.tail.sumAt(l.commit)
	if !ok {
		return fmt.Errorf("replica: the log sum at the commit index %d is not in memory (%d..%d)", l.commit, l.tail.first, l.tail.last())
	}
	state.Commit = l.commit
	if logTerms.LastIndex() > l.commit {
		logTerms.TruncateAfter(l.commit)
		confs.TruncateAfter(l.commit)
		r.disk.change(&protocol.Delta{Truncate: true, After: l.commit})
		l.tail.truncate(l.commit)
		r.unreadable.truncate(l.commit)
	}
	r.disk.settle(state, &logTerms, l.tail)
	r.disk.epoch++
	l.role = &passiveRole{Member: passive.New(now, passive.Config{ID: r.cfg.ID, Signed: r.cfg.signed()}, passive.Start{
		State: state, LogTerms: logTerms, Configurations: confs, LastSum: sum, LastTime: last,
	})}
	return nil
}
