package replica

import (
	"fmt"

	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// installation is the one of a checkpoint, if one is under way. In phase install.Kept
// the log is begun anew after it.
//
// The order is the store's, then the log's, then the role's and the state's: see Join.
type installation struct {
	ground
	who         *hearing
	checkpoints *checkpoints
	audit       *audit
	places      *unreadable
	apply       *applying
	disk        *disk
	behind      interface{ hurry(protocol.Instant) }
	gossip      install.Flock

	begun uint64 // installations, since the start
	underway
}

// underway is how far one is.
type underway struct {
	install.Checkpoint
	time protocol.ClusterTime // of the state, when it is built
	told bool                 // what tell last said
	// retryAt is when another one may begin after one that failed: what failed
	// would fail again at once.
	retryAt protocol.Instant
}

// offered takes the manifest of a checkpoint that may be trusted: it came
// from the leader, or gossip has confirmed it. The leader repeats itself, and
// what is under way goes on; gossip offers another one only when the one under
// way cannot be had any more.
func (x *installation) offered(now protocol.Instant, o *protocol.ManifestOffer, byLeader bool) {
	d, err := storage.DecodeManifest(o.Manifest)
	if err != nil {
		x.out.Events = append(x.out.Events, protocol.Event{Kind: protocol.EventRefused, Member: o.From, Text: err.Error()})
		return
	}
	if d.Index > protocol.IndexMax || d.Term > protocol.TermMax {
		x.who.unheeded++
		return
	}
	if !x.standing.may(mayInstall) {
		return // nothing takes the place of what this member holds
	}
	x.audit.appeal(now)
	bereft := x.places.bereft()
	// The log is kept then: only what cannot be read of it is passed over.
	passes := bereft != nil && !byLeader && d.Index >= bereft.entries.Last && Join(x.log.logTerms(), x.log.tail.sumAt, &d) == JoinKeep
	if d.Index <= x.log.commit && x.standing.may(mayApply) && !passes {
		// The leader thinks that this member is further behind than it is.
		if t, held := x.log.logTerms().TermAt(d.Index); held && t == d.Term {
			// [S] That ends no installation that is under way: while its log is begun
			// anew, a member that took entries would lose them.
			x.log.role.holds(now, protocol.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration})
			x.tell(now, x.told)
		}
		return
	}
	if x.apply.isInstalling() {
		return // the state that one has built is not in place yet, and would be given up
	}
	if d.Index < x.log.logTerms().PrevIndex || d.Index <= x.log.handed && x.standing.may(mayKeep) {
		return
	}
	if !x.cfg.Level.Covers(d.Configuration.Configuration.Level) {
		return // [S] what is in it cannot be read; the status says so
	}
	if now < x.retryAt || x.Phase > install.Fetches || x.Phase != install.None && (byLeader || !x.givesWay(&d)) {
		return
	}
	if x.hasForgotten(now, d.Configuration, byLeader) || x.audit.contradicts(o.From, &d) {
		return
	}
	if !x.standing.may(mayKeep) && (len(x.apply.flights) > 0 || d.Index+1 < x.checkpoints.dropped || !x.audit.trusts(now, o, &d)) {
		return // it will be offered again
	}
	x.audit.givesWay(x.checkpoints.kept)
	x.begun++
	x.behind.hurry(now) // it is far behind
	x.underway = underway{}
	begin := x.Begin(now, x.gossip, d)
	x.tell(now, x.standing.may(mayApply) && bereft == nil || d.Index > x.log.logTerms().LastIndex())
	x.out.event(protocol.EventCheckpoint, fmt.Sprintf("installing the one at %d from others: %d bytes in %d chunks", d.Index, d.Bytes, len(d.Chunks)))
	x.step(begin)
}

// hasForgotten reports whether a checkpoint shows that this member's directory was put back: it is not
// installed then. The word of a leader ends an active; anybody else may have made it up.
func (x *installation) hasForgotten(now protocol.Instant, c protocol.ConfigurationAt, byLeader bool) bool {
	if !c.Configuration.Needs(x.cfg.ID) || c.Index <= x.log.logTerms().LastIndex() {
		return false
	}
	why := protocol.HasForgotten(x.cfg.ID, c)
	if byLeader && x.log.role.kind() == protocol.RoleActive {
		x.out.Stop = why
		return true
	}
	x.out.event(protocol.EventGaveUp, why.Error())
	x.retryAt = now.Add(x.who.patience())
	return true
}

// step has the store do a step, if there is one.
func (x *installation) step(s *InstallStep) {
	if s != nil {
		x.out.Install = append(x.out.Install, *s)
	}
}

// givesWay reports whether what is fetched gives way to another checkpoint: a later
// one, or the same one as others describe it. Who described this one may have had a
// wrong state, and be gone: then nobody has all that it described.
func (x *installation) givesWay(d *storage.Manifest) bool {
	return d.Index > x.D.Index || d.Index == x.D.Index && d.Digest != x.D.Digest && x.Phase == install.Fetches
}

// tell tells the core of an active. [S] Meanwhile it votes by its old
// log, acknowledges nothing new and does not campaign.
func (x *installation) tell(now protocol.Instant, on bool) {
	x.told = on
	x.log.role.SetInstalling(now, on)
}

// InstallBegun answers InstallStep.Begin, of the checkpoint at an index, with the
// numbers of the chunks that are wanted.
func (r *Replica) InstallBegun(now protocol.Instant, i protocol.Index, missing []int, err error) {
	step, err := r.install.Begun(now, r.gossip, i, missing, err)
	r.install.goOn(now, step, err)
	r.pump(now)
}

// ChunkAdded answers InstallStep.Chunk.
func (r *Replica) ChunkAdded(now protocol.Instant, number int, err error) {
	step, err := r.install.Added(now, r.gossip, number, err)
	r.install.goOn(now, step, err)
	r.pump(now)
}

// goOn goes on after a step.
func (x *installation) goOn(now protocol.Instant, step *InstallStep, err error) {
	if err != nil {
		x.giveUp(now, err)
	}
	x.step(step)
}

// InstallFinished answers InstallStep.Finish: the checkpoint is the newest kept
// one, durably, and the state is built beside the one in force.
func (r *Replica) InstallFinished(now protocol.Instant, kept []storage.Manifest, time protocol.ClusterTime, err error) {
	if r.install.finished(now, kept, time, err) {
		r.pump(now)
	}
}

// finished takes what was built, and reports whether this member goes on.
func (x *installation) finished(now protocol.Instant, kept []storage.Manifest, time protocol.ClusterTime, err error) bool {
	if x.Phase != install.Finishes {
		return false
	}
	if err != nil {
		x.checkpoints.keep(now, kept)
		x.giveUp(now, err)
		return true
	}
	x.gossip.StopFetch(now)
	x.time = time
	if x.D.Index <= x.log.handed && x.standing.may(mayKeep) || !x.standing.may(mayInstall) {
		// The log has brought the state further meanwhile, or is to stay.
		x.out.Install = append(x.out.Install, InstallStep{Discard: true})
		x.end(now)
		x.checkpoints.keep(now, kept)
		return true
	}
	x.checkpoints.setKept(kept) // the head is dropped when the log has followed
	switch Join(x.log.logTerms(), x.log.tail.sumAt, &x.D) {
	case JoinKeep:
		x.follow(now, false)
	case JoinReset:
		if x.D.Index <= x.log.commit {
			x.out.Stop = protocol.TwoHistories(fmt.Sprintf("committed entry %d is another one here than in a checkpoint of other members", x.D.Index))
			return false
		}
		x.Phase = install.Kept
		x.standing.set(renewing, true)
		x.tell(now, true)
	case JoinFetch: // the log's head was dropped above it meanwhile
		x.out.Install = append(x.out.Install, InstallStep{Discard: true})
		x.end(now)
	}
	return true
}

// startReset begins the log anew when nothing else waits for the disk.
func (x *installation) startReset() {
	d := x.disk
	if x.Phase != install.Kept || !x.standing.may(mayInstall) || d.flying != nil || len(d.queue) > 0 || d.failed != nil {
		return
	}
	state := StateAfter(x.log.logTerms(), x.log.role.HardState(), &x.D)
	b := storage.BeginAfter(&x.D)
	d.queue = append(d.queue, queued{reset: &b, write: protocol.Write{State: state, First: 1, Last: 0}})
}

// reset says that the log begins after the checkpoint, durably.
func (x *installation) reset(now protocol.Instant, b *storage.Begin) {
	invariant.Check(x.Phase == install.Kept, "the log was reset to %d without an installation", b.Index)
	x.log.tail = &tail{first: b.Index + 1, before: b.Sum, joined: true}
	x.disk.written, x.disk.cut = b.Index, false
	x.places.reset()
	x.apply.reading = false
	x.follow(now, true)
}

// follow makes the role and the state follow an installed checkpoint: the log
// holds its last entry, or was begun anew after it.
func (x *installation) follow(now protocol.Instant, anew bool) {
	d := x.D
	x.log.role.Install(now, protocol.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration, Time: x.time, Anew: anew})
	x.log.commit = max(x.log.commit, d.Index)
	x.apply.installState(d.Index)
	x.audit.reinstalled(d.Index)
	x.audit.awaits(&d)
	x.audit.note(now, d.Index, d.Digest)
	x.checkpoints.entryAt, x.checkpoints.digest = d.Index, d.Digest
	x.checkpoints.since, x.checkpoints.at = 0, now
	x.out.event(protocol.EventInstalled, fmt.Sprintf("the checkpoint at %d", d.Index))
	x.end(now)
}

// end forgets the installation.
func (x *installation) end(now protocol.Instant) {
	x.End(now, x.gossip)
	x.underway = underway{}
	x.standing.set(renewing, false)
	x.tell(now, false)
	x.checkpoints.offer(now)
}

// spare ends an installation that is for nothing, with what has come of it: the state is
// as far, and is kept. One that is built already ends by itself (finished).
func (x *installation) spare(now protocol.Instant) {
	if (x.Phase == install.Begins || x.Phase == install.Fetches) && x.D.Index <= x.log.handed {
		x.step(&InstallStep{Abort: true})
		x.end(now)
	}
}

// giveUp ends an installation that cannot go on. What it has stays with
// the store, which resumes it when it is offered again.
func (x *installation) giveUp(now protocol.Instant, err error) {
	x.out.event(protocol.EventGaveUp, fmt.Sprintf("installing the checkpoint at %d: %v", x.D.Index, err))
	x.end(now)
	x.retryAt = now.Add(x.who.patience())
}
