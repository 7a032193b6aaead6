package replica

import (
	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/passive"
	"github.com/starlinghq/starling/protocol"
)

// roundsMax bounds how often the cores may answer one another within one
// event. They settle in a handful.
const roundsMax = 1000

// pump moves what the cores have to say to where it belongs, until they have
// nothing more to say, and then judges the role.
func (r *Replica) pump(now protocol.Instant) {
	r.followLeader() // before anything is sent to the one that is known now
	r.requests.flush(now, r)
	r.followReadable(now)
	r.apply.tellFit(now, r)
	for round := 0; ; round++ {
		if round >= roundsMax {
			invariant.Check(false, "the cores do not settle after %d rounds", round)
		}
		busy := r.serveRole(now)
		r.requests.compareReads(now, r)
		busy = r.serveGossip(now) || busy
		// A role is judged when it has said all that it has to say: what it
		// hands out of a run that names this member must not be lost with it.
		if !busy && !r.judge(now) {
			break
		}
	}
	r.followLeader()
	r.tellTypes(now)
	r.pinWanted(now)
	r.proveLevel(now)
	r.startReset()
	r.startWrite()
	r.handOut()
	if keep := min(r.commit, r.disk.settled()); keep > 0 {
		r.tail.trim(keep-1, r.cfg.TailBytes)
	}
}

// serveRole takes the role's Ready, in the order of safety, and reports whether
// there was anything.
func (r *Replica) serveRole(now protocol.Instant) bool {
	var rd protocol.Ready
	if r.role == protocol.RoleActive {
		if !r.active.HasReady() {
			return false
		}
		rd = r.active.Ready()
	} else {
		if !r.passive.HasReady() {
			return false
		}
		rd = r.passive.Ready()
	}
	if !rd.Delta.IsZero() {
		r.changeLog(&rd.Delta)
	}
	if rd.Write != nil {
		r.disk.add(r.epoch, r.tail.withJoin(*rd.Write, r.shape()))
	}
	for _, e := range rd.Messages {
		r.send(now, e)
	}
	if rd.Commit > r.commit {
		if rd.Commit > r.tail.last() {
			invariant.Check(false, "commit %d above the log's end %d", rd.Commit, r.tail.last())
		}
		r.commit = rd.Commit
		r.requests.committed(r)
	}
	if rd.Checkpoint != nil {
		r.offered(now, rd.Checkpoint, true)
	}
	for _, read := range rd.Reads {
		r.requests.readAnswered(now, read.Leader, read, r)
	}
	for _, f := range rd.Fresh {
		r.gossip.Confirmed(f)
	}
	r.out.Events = append(r.out.Events, rd.Events...)
	r.out.PutBack = append(r.out.PutBack, rd.PutBack...)
	if r.out.Stop == nil {
		r.out.Stop = rd.Stop
	}
	r.requests.follow(now, r)
	return true
}

// changeLog applies a role's change to the log in memory.
func (r *Replica) changeLog(d *protocol.Delta) {
	if d.Truncate {
		if d.After < r.commit {
			invariant.Check(false, "log truncated to %d, at or below the commit index %d", d.After, r.commit)
		}
		r.disk.change(d)
		r.tail.truncate(d.After)
		r.unreadable.truncate(d.After)
	}
	r.tail.append(d.Entries)
}

// serveGossip exchanges progress and messages with the gossip core.
func (r *Replica) serveGossip(now protocol.Instant) bool {
	r.heed(now)
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
	for _, want := range g.Reads {
		r.fetches.give(now, want, r)
	}
	for _, run := range g.Runs {
		r.takeRun(now, run)
	}
	for i := range g.Chunks {
		r.arrived(now, &g.Chunks[i])
	}
	for _, x := range g.ChunkReads {
		r.out.ReadChunk = append(r.out.ReadChunk, ChunkRead(x))
	}
	if g.Led != nil && r.role != protocol.RoleActive {
		r.heardOf(now, g.Led.Term, g.Led.Leader)
	}
	if g.Offer != nil {
		r.offered(now, g.Offer, false)
	}
	if g.Prove {
		r.requests.prove(now, r)
	}
	if g.Diverged != nil {
		r.strayed(now, g.Diverged)
	}
	r.out.Events = append(r.out.Events, g.Events...)
	return true
}

// takeRun offers a run of committed entries to the role.
func (r *Replica) takeRun(now protocol.Instant, run gossip.Run) {
	if r.install.phase == installResets || r.diverged != nil {
		return // a log that is about to begin anew, or to stay as it is, takes nothing
	}
	if r.role == protocol.RoleActive {
		r.adopt(now, run)
		return
	}
	verdict := r.passive.Take(now, passive.Run{
		From: run.From, Origin: run.Origin, Before: run.Before, Entries: run.Entries, Commit: run.Commit,
	})
	if verdict == passive.Mismatch {
		r.gossip.Refused(now, run)
	}
}

// adopt offers a run to an active that is adrift. What it holds above its commit
// index does not count as held; the log sum there says whether the run joins.
func (r *Replica) adopt(now protocol.Instant, run gossip.Run) {
	first := run.Entries[0].Index
	if first > r.commit+1 || run.Entries[len(run.Entries)-1].Index <= r.commit {
		return
	}
	sum := run.Before
	for i := range run.Entries[:r.commit+1-first] {
		sum = sum.Next(run.Entries[i].Raw)
	}
	mine, known := r.tail.sumAt(r.commit)
	if !known || sum != mine {
		r.gossip.Refused(now, run)
		return
	}
	switch r.active.Adopt(now, active.Run{From: run.Origin, Entries: run.Entries, Commit: run.Commit}) {
	case active.Adopted:
		r.serveRole(now) // the next run joins what this one brought
	case active.Mismatch:
		r.gossip.Refused(now, run)
	}
}

func (r *Replica) progressNow(now protocol.Instant) gossip.Progress {
	p := gossip.Progress{
		First:   r.givesAfter() + 1,
		Tip:     min(r.commit, r.tail.last()),
		Applied: r.applied,
		Commit:  r.commit,
		Role:    r.role,
		Source:  !r.lost() && !r.quarantined() && r.install.phase == installNone,
		Lost:    r.lost(),
		Term:    r.hint.term,
		Leader:  r.hint.leader,
		Needs:   r.needs(),
		Pressed: r.behind.pressed,
	}
	if x := r.unreadable.bereft(r); x != nil {
		p.Lost, p.Above = true, x.entries.Last-1
	}
	if r.discarded() {
		p.Applied = 0 // any checkpoint that the log goes on from will do
	}
	if r.role == protocol.RoleActive {
		p.Term, p.Leader, p.Adrift = r.active.Term(), r.active.Leader(), r.active.Adrift(now)
	}
	return p
}

// committedLog is what gossip sees of the log: the committed prefix.
type committedLog struct{ r *Replica }

func (l committedLog) Entries(first, last protocol.Index, bytes int) []protocol.Entry {
	t := l.r.tail
	last = min(last, l.r.commit)
	if !t.holds(first, last) {
		return nil
	}
	return t.slice(first, t.fit(first, last, bytes))
}

func (l committedLog) SumBefore(first protocol.Index) (protocol.LogSum, bool) {
	if first == 0 || first-1 > l.r.commit {
		return protocol.LogSum{}, false
	}
	return l.r.tail.sumAt(first - 1)
}

// appendLog is what the Raft core asks of the log.
type appendLog struct{ r *Replica }

// SumAt returns the log sum after index i. The tail holds it for the commit index.
func (l appendLog) SumAt(i protocol.Index) (protocol.LogSum, bool) { return l.r.tail.sumAt(i) }

// diskFit is how many entries the core may put into one append that has to be
// read from the disk, at most; the append is split by size when it is read.
const diskFit = 1024

func (l appendLog) Fit(first, last protocol.Index, bytes int) protocol.Index {
	t := l.r.tail
	if t.holds(first, last) {
		return t.fit(first, min(last, first+protocol.AppendEntriesMax-1), bytes)
	}
	// How large the entries are is on disk only: about as large as those in
	// memory, most likely.
	n := protocol.Index(diskFit)
	if len(t.entries) > 0 {
		n = protocol.Index(max(1, min(diskFit, bytes*len(t.entries)/max(1, t.bytes))))
	}
	if first > t.last() { // stamped, but not yet handed over in a Ready
		return min(last, first+n-1)
	}
	return min(last, first+n-1, max(first, t.first-1))
}
