package replica

import (
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// roundsMax bounds how often the cores may answer one another within one
// event. They settle in a handful.
const roundsMax = 1000

// pump moves what the cores have to say to where it belongs, until they have
// nothing more to say, and then judges the role.
func (r *Replica) pump(now protocol.Instant) {
	r.followLeader() // before anything is sent to the one that is known now
	r.commands.flush(now)
	r.reads.flush(now)
	r.unreadable.repairing.follow(now)
	r.unreadable.forget(now, r.log.logTerms().FirstIndex())
	r.hearing.forget(now)
	r.log.role.SetUnreadable(now, r.unreadable.upTo())
	r.apply.tellFit(now)
	for round := 0; ; round++ {
		if round >= roundsMax {
			invariant.Check(false, "the cores do not settle after %d rounds", round)
		}
		busy := r.meetLevel(now)
		busy = r.serveRole(now) || busy
		r.reads.compare(now)
		busy = r.serveGossip(now) || busy
		// A role is judged when it has said all that it has to say: what it
		// hands out of a run that names this member must not be lost with it.
		if !busy && !r.reconcileRole(now) {
			break
		}
	}
	r.followLeader()
	r.types.tell(now)
	r.formats.tell(now)
	r.checkpoints.pinWanted(now)
	r.behind.prove(now, r.hearing.leader())
	r.install.startReset()
	r.disk.start(now, &r.out, r.log.tail)
	r.commands.suspend()
	r.apply.dispatch(now)
	if keep := min(r.log.commit, r.disk.settled()); keep > 0 {
		r.log.tail.trim(keep-1, r.cfg.TailBytes)
	}
}

// serveRole takes the role's Ready, in the order of safety, and reports whether
// there was anything.
func (r *Replica) serveRole(now protocol.Instant) bool {
	if !r.log.role.HasReady() {
		return false
	}
	rd := r.log.role.Ready()
	if !rd.Delta.IsZero() {
		changeLog(r, &rd.Delta)
	}
	if rd.Write != nil {
		r.disk.add(r.disk.epoch, r.log.tail.withJoin(*rd.Write, r.log.logTerms()))
	}
	if rd.Ahead != nil {
		r.disk.vote(&r.out, rd.Ahead)
	}
	for _, e := range rd.Messages {
		r.feeding.send(now, e)
	}
	if rd.Commit > r.log.commit {
		if rd.Commit > r.log.tail.last() {
			invariant.Check(false, "commit %d above the log's end %d", rd.Commit, r.log.tail.last())
		}
		r.log.commit = rd.Commit
		r.membershipChanges.committed()
	}
	if rd.Checkpoint != nil {
		r.install.offered(now, rd.Checkpoint, true)
	}
	for _, read := range rd.Reads {
		r.reads.answered(now, read.Leader, read)
	}
	for _, f := range rd.Fresh {
		r.gossip.Confirmed(f)
	}
	r.out.Events = append(r.out.Events, rd.Events...)
	r.out.PutBack = append(r.out.PutBack, rd.PutBack...)
	if r.out.Stop == nil {
		r.out.Stop = rd.Stop
	}
	r.followLead(now)
	return true
}

// changeLog applies a role's change to the log in memory.
func changeLog(r *Replica, d *protocol.Delta) {
	if d.Truncate {
		if d.After < r.log.commit {
			invariant.Check(false, "log truncated to %d, at or below the commit index %d", d.After, r.log.commit)
		}
		r.disk.change(d)
		r.log.tail.truncate(d.After)
		r.unreadable.truncate(d.After)
	}
	r.log.tail.append(d.Entries, d.Summed)
}

// serveGossip exchanges progress and messages with the gossip core.
func (r *Replica) serveGossip(now protocol.Instant) bool {
	r.hearing.heed(now, r.unreadable.bereft() != nil)
	if p := r.progressNow(now); p != r.progress {
		r.progress = p
		r.gossip.Progress(now, p)
	}
	if !r.gossip.HasReady() {
		return false
	}
	g := r.gossip.Ready()
	for _, e := range g.Messages {
		r.out.Send = append(r.out.Send, Send{Envelope: e, Datagram: true})
	}
	for _, e := range g.Streamed {
		r.out.Send = append(r.out.Send, Send{Envelope: e})
	}
	for _, want := range g.Reads {
		r.feeding.give(now, want)
	}
	for _, run := range g.Runs {
		r.takeRun(now, run)
	}
	for i := range g.Chunks {
		r.install.step(r.install.Arrived(now, r.gossip, &g.Chunks[i]))
	}
	for _, x := range g.ChunkReads {
		r.out.ReadChunk = append(r.out.ReadChunk, ChunkRead(x))
	}
	if g.Led != nil && !r.log.knows() {
		r.hearing.heardOf(now, g.Led.Term, g.Led.Leader)
	}
	if g.Offer != nil {
		r.install.offered(now, g.Offer, false)
	}
	if g.Prove {
		r.reads.prove(now)
	}
	if g.Diverged != nil {
		r.strayed(now, g.Diverged)
	}
	r.out.Events = append(r.out.Events, g.Events...)
	return true
}

// strayed says that this member's log is of another history than the actives'.
func (r *Replica) strayed(now protocol.Instant, d *gossip.Divergence) {
	d.Name = r.flock.labelOf(d.By)
	r.standing.stray(d)
	r.out.Diverged = d
	r.reads.failWith(r.reads.withheld())
	if p := r.install.Phase; p == install.Begins || p == install.Fetches {
		r.install.giveUp(now, r.reads.withheld())
	}
}

// meetLevel asks whether the log has come to a format level that this member does not
// know, or is back from one, and reports whether that has changed.
func (r *Replica) meetLevel(now protocol.Instant) bool {
	if !r.formats.meet() {
		return false
	}
	r.apply.tellFit(now)
	r.checkpoints.offer(now)
	if err := r.standing.notServing(); err != nil {
		r.reads.failWith(err)
	}
	return true
}

// fell says that the state is given up, and when another one may be installed at the
// earliest: this member serves, feeds and leads no more.
func (r *Replica) fell(now, again protocol.Instant) {
	r.install.retryAt = max(r.install.retryAt, again)
	r.reads.failWith(r.standing.notServing())
	r.apply.tellFit(now)
	r.audit.lookBack(r.checkpoints.kept)
	r.audit.giveUpBad(r.checkpoints.kept)
	r.checkpoints.offer(now)
}

// acquitted says that the state is kept after all.
func (r *Replica) acquitted(now protocol.Instant) {
	r.install.spare(now)
	r.reads.serve()
	r.apply.tellFit(now)
	r.checkpoints.offer(now)
}

// takeRun offers a run of committed entries to the role.
func (r *Replica) takeRun(now protocol.Instant, run gossip.Run) {
	if !r.standing.may(mayChange) {
		return // a log that is about to begin anew, or to stay as it is, takes nothing
	}
	serve, refused := r.log.role.takeRun(now, run, &r.log)
	if serve {
		r.serveRole(now)
	} else if refused {
		r.gossip.Refused(now, run)
	}
}

func (r *Replica) progressNow(now protocol.Instant) gossip.Progress {
	p := gossip.Progress{
		First:      r.unreadable.givesAfter() + 1,
		LastIndex:  min(r.log.commit, r.log.tail.last()),
		Applied:    r.log.applied,
		Commit:     r.log.commit,
		Role:       r.log.role.kind(),
		Source:     r.standing.may(mayFeed) && r.install.Phase == install.None,
		Lost:       !r.standing.may(mayApply),
		Term:       r.hearing.term(),
		Leaderless: r.log.role.IsLeaderless(now),
		Needs:      r.behind.needs(),
		Pressed:    r.behind.pressed,
	}
	if x := r.unreadable.bereft(); x != nil {
		p.Lost, p.Above = true, x.entries.Last-1
	}
	if !r.standing.may(mayKeep) {
		p.Applied = 0 // any checkpoint that the log goes on from will do
	}
	if p.Leader = r.hearing.hint.leader; r.log.knows() {
		p.Leader = r.hearing.leader()
	}
	return p
}
