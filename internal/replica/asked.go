package replica

import "github.com/starlinghq/starling/protocol"

// What clients and operators ask a replica for goes to the part that answers it: commands,
// reads or seats.

// Submission is one command of a client.
type Submission struct {
	Request uint64
	Command []byte
	// Checked says that the submitter has asked Config.Accepts, that the
	// encoding is good, and that it is no keep-alive of a session: those of many
	// sessions share an entry.
	Checked bool
	// Session and Sequence are those of the command. With a Sequence of 0 it is answered
	// by the leader alone, if that is another member.
	Session  protocol.SessionID
	Sequence uint64
}

// Submit takes encoded commands of clients: all that wait, so that they share one
// step: one batch, one append, one sync. Each is answered once, by an Answer with the
// same request number. Codes that a client may retry with the same session and
// sequence: not_leader, no_leader, overloaded, no_space_here, unknown_outcome.
func (r *Replica) Submit(now protocol.Instant, list ...Submission) {
	for _, s := range list {
		r.commands.waiting = append(r.commands.waiting, command{
			from: origin{request: s.Request}, encoded: s.Command, checked: s.Checked, session: s.Session, sequence: s.Sequence,
		})
	}
	r.pump(now)
}

// Read asks for an index at which linearizable reads may be served. The reads
// of one call share one question. Each is answered by a ReadAnswer, once the
// state has reached the index.
func (r *Replica) Read(now protocol.Instant, list ...uint64) {
	r.reads.waiting = append(r.reads.waiting, list...)
	r.pump(now)
}

// Prove asks whether this member leads. It is answered by a ReadAnswer: without an error
// when a majority of the voters has confirmed, after the question, that it does, or while
// its lease says so. Another
// one may have taken the lead long ago, and changed seats since. That the state has come
// to the answer's index is not said.
func (r *Replica) Prove(now protocol.Instant, request uint64) {
	if !r.log.leads() {
		r.out.read(request, 0, r.hearing.notLeadingForOperator())
		return
	}
	r.reads.leads(now, request)
	r.pump(now)
}

// LinkLost says that the link to another member has ended, or that an attempt to
// make one has failed: what was asked over it may have arrived, and has no answer.
func (r *Replica) LinkLost(now protocol.Instant, to protocol.MemberID) {
	r.commands.disown(protocol.ErrUnknownOutcome.With("the link to the leader is lost; the write may have happened"),
		func(f *forwarded) bool { return f.to == to })
	r.reads.failOf(func(g *readGroup) bool { return g.to == to && !g.answered },
		protocol.ErrNoLeader.With("the link to the leader is lost; read again"))
	r.pump(now)
}

// Bar ends this member's part as an active for good, in this run: others have refused
// its directory, and their word counts (see Refusals). It goes on as a follower that
// nobody hears.
func (r *Replica) Bar(now protocol.Instant) {
	r.barred = true
	r.log.role.Silence(now)
	r.pump(now)
}

// LetIn says that what another run of a member says counts from now on.
func (r *Replica) LetIn(now protocol.Instant, id protocol.MemberID, run protocol.RunID) {
	r.formats.letIn(id, run)
	r.log.role.LetIn(now, id, run)
	r.pump(now)
}

// Unsent says that a message was not sent, for certain, and why: it has the code
// of an error after which a client may ask again.
func (r *Replica) Unsent(now protocol.Instant, m protocol.Message, why error) {
	switch m := m.(type) {
	case *protocol.Forward:
		if i, ok := r.commands.abroad.find(m.Request); ok && m.Run == r.ids.run && len(m.Command) > 0 {
			f := r.commands.abroad.remove(i)
			r.out.answer(f.request, protocol.Failed(why))
		}
	case *protocol.ReadIndex:
		if m.Origin == r.cfg.ID && m.Run == r.ids.run {
			r.reads.failOf(func(g *readGroup) bool { return g.id == m.Request && !g.answered }, why)
		}
	}
	r.pump(now)
}

// followLeader answers what was asked of a leader that is none any more, as soon
// as another one is known, or it is not heard: a stale word of it changes nothing,
// because terms only rise.
func (r *Replica) followLeader() {
	if r.hearing.changed() {
		r.commands.disown(protocol.ErrUnknownOutcome.With("the member that it was forwarded to leads no more; the write may have happened"),
			func(*forwarded) bool { return true })
		r.reads.failOf(func(g *readGroup) bool { return !g.to.IsZero() && !g.answered },
			protocol.ErrNoLeader.With("the leader has changed; read again"))
	}
}

// followLead answers what was asked of this member as the leader, if it is none any more.
func (r *Replica) followLead(now protocol.Instant) {
	if !r.log.leads() {
		if len(r.commands.proposed) > 0 {
			r.commands.leaderLost()
		}
		r.membershipChanges.changesLost(errLeaderLost)
		if len(r.reads.proofs) > 0 {
			r.reads.unproven(func(*proof) bool { return true }, r.hearing.notLeading())
		}
		r.commands.reject()
	}
	r.membershipChanges.transferred(now)
}

// failAll answers everything that waits.
func (r *Replica) failAll(err error) {
	r.commands.disown(err, func(*forwarded) bool { return true })
	r.membershipChanges.failAll(err)
	r.reads.unproven(func(*proof) bool { return true }, err)
	r.commands.reject()
	r.commands.giveUp(0)
	r.reads.failAll()
}
