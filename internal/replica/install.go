package replica

import (
	"errors"
	"fmt"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// phase is how far an installation is.
type phase uint8

const (
	installNone   phase = iota
	installBegins       // the store prepares
	installFetches
	installFinishes // the store builds the state and moves its pointer
	installResets   // the log is begun anew after it
)

// install is the installation of a checkpoint, if one is under way.
type install struct {
	phase phase
	d     storage.Description
	have  []bool // chunks, by number
	left  int
	time  protocol.ClusterTime // of the state, when it is built
	told  bool                 // what setInstalling last said
	// retryAt is when another one may begin after one that failed: what failed
	// would fail again at once.
	retryAt protocol.Instant
}

// offered takes the description of a checkpoint that may be trusted: it came
// from the leader, or gossip has confirmed it. The leader repeats itself, and
// what is under way goes on; gossip offers another one only when the one under
// way cannot be had any more.
func (r *Replica) offered(now protocol.Instant, o *protocol.Offer, byLeader bool) {
	d, err := storage.DecodeDescription(o.Description)
	if err != nil {
		r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventRefused, Member: o.From, Text: err.Error()})
		return
	}
	if d.Index > protocol.IndexMax || d.Term > protocol.TermMax {
		r.hearing.unheeded++
		return
	}
	if !r.standing.may(mayInstall) {
		return // nothing takes the place of what this member holds
	}
	bereft := r.unreadable.bereft()
	// The log is kept then: only what cannot be read of it is passed over.
	passes := bereft != nil && !byLeader && d.Index >= bereft.entries.Last && Join(r.log.shape(), r.log.tail.sumAt, &d) == JoinKeep
	if d.Index <= r.log.commit && r.standing.may(mayApply) && !passes {
		// The leader thinks that this member is further behind than it is.
		if t, held := r.log.shape().TermAt(d.Index); held && t == d.Term {
			// [S] That ends no installation that is under way: while its log is begun
			// anew, a member that took entries would lose them.
			r.log.role.holds(now, protocol.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration})
			r.setInstalling(now, r.install.told)
		}
		return
	}
	if r.apply.adopting() {
		return // the state that one has built is not in place yet, and would be given up
	}
	if d.Index < r.log.shape().PrevIndex || d.Index <= r.log.handed && r.standing.may(mayKeep) {
		return
	}
	x := &r.install
	if now < x.retryAt || x.phase > installFetches || x.phase != installNone && (byLeader || !x.givesWay(&d)) {
		return
	}
	if !r.standing.may(mayKeep) && !r.trusts(now, o, &d) {
		return
	}
	r.gossip.StopFetch(now)
	r.installs++
	r.behind.next = now // it is far behind
	*x = install{phase: installBegins, d: d, have: make([]bool, len(d.Chunks))}
	r.setInstalling(now, r.standing.may(mayApply) && bereft == nil || d.Index > r.log.shape().LastIndex())
	r.out.event(protocol.EventCheckpoint, fmt.Sprintf("installing the one at %d from others: %d bytes in %d chunks", d.Index, d.Bytes, len(d.Chunks)))
	r.out.Install = append(r.out.Install, InstallStep{Begin: &d})
}

// givesWay reports whether what is fetched gives way to another checkpoint: a later
// one, or the same one as others describe it. Who described this one may have had a
// wrong state, and be gone: then nobody has all that it described.
func (x *install) givesWay(d *storage.Description) bool {
	return d.Index > x.d.Index || d.Index == x.d.Index && d.Digest != x.d.Digest && x.phase == installFetches
}

// setInstalling tells the core of an active. [S] Meanwhile it votes by its old
// log, acknowledges nothing new and does not campaign.
func (r *Replica) setInstalling(now protocol.Instant, on bool) {
	r.install.told = on
	r.log.role.SetInstalling(now, on)
}

// InstallBegun answers InstallStep.Begin, of the checkpoint at an index, with the
// numbers of the chunks that are wanted. [S] Another one may have been begun
// meanwhile: what is missing of the one says nothing about the other.
func (r *Replica) InstallBegun(now protocol.Instant, i protocol.Index, missing []int, err error) {
	x := &r.install
	if x.phase != installBegins || i != x.d.Index {
		return
	}
	if err != nil {
		r.giveUpInstall(now, err)
		r.pump(now)
		return
	}
	for i := range x.have {
		x.have[i] = true
	}
	for _, n := range missing {
		x.have[n] = false
	}
	x.left = len(missing)
	x.phase = installFetches
	if x.left > 0 {
		r.gossip.Fetch(now, gossip.Fetching{Index: x.d.Index, Sum: x.d.LogSum, Missing: missing})
	}
	r.finishInstall()
	r.pump(now)
}

// arrived hands a chunk to the store.
func (r *Replica) arrived(now protocol.Instant, c *gossip.ChunkArrived) {
	x := &r.install
	if x.phase != installFetches || c.Index != x.d.Index || c.Number < 0 || c.Number >= len(x.have) {
		return
	}
	if x.have[c.Number] {
		r.gossip.ChunkAdded(now, c.Number, true)
		return
	}
	r.out.Install = append(r.out.Install, InstallStep{Chunk: &Chunk{From: c.From, Number: c.Number, Data: c.Data}})
}

// ChunkAdded answers InstallStep.Chunk. An error of protocol.ErrCorrupt says
// that these were not the described bytes: others are asked.
func (r *Replica) ChunkAdded(now protocol.Instant, number int, err error) {
	x := &r.install
	if x.phase != installFetches || number < 0 || number >= len(x.have) {
		return
	}
	if err != nil && !errors.Is(err, protocol.ErrCorrupt) {
		r.giveUpInstall(now, err)
		r.pump(now)
		return
	}
	r.gossip.ChunkAdded(now, number, err == nil)
	if err == nil && !x.have[number] {
		x.have[number] = true
		x.left--
		r.finishInstall()
	}
	r.pump(now)
}

// finishInstall asks for the end of a complete installation.
func (r *Replica) finishInstall() {
	if x := &r.install; x.phase == installFetches && x.left == 0 {
		x.phase = installFinishes
		r.out.Install = append(r.out.Install, InstallStep{Finish: true})
	}
}

// InstallFinished answers InstallStep.Finish: the checkpoint is the newest kept
// one, durably, and the state is built beside the one in force.
func (r *Replica) InstallFinished(now protocol.Instant, kept []storage.Description, time protocol.ClusterTime, err error) {
	x := &r.install
	if x.phase != installFinishes {
		return
	}
	if err != nil {
		r.keep(now, kept)
		r.giveUpInstall(now, err)
		r.pump(now)
		return
	}
	r.gossip.StopFetch(now)
	x.time = time
	if x.d.Index <= r.log.handed && r.standing.may(mayKeep) || !r.standing.may(mayInstall) {
		// The log has brought the state further meanwhile, or is to stay.
		r.out.Install = append(r.out.Install, InstallStep{Discard: true})
		r.endInstall(now)
		r.keep(now, kept)
		r.pump(now)
		return
	}
	r.setKept(kept) // the head is dropped when the log has followed
	switch Join(r.log.shape(), r.log.tail.sumAt, &x.d) {
	case JoinKeep:
		r.follow(now, false)
	case JoinReset:
		if x.d.Index <= r.log.commit {
			r.out.Stop = protocol.TwoHistories(fmt.Sprintf("committed entry %d is another one here than in a checkpoint of other members", x.d.Index))
			return
		}
		x.phase = installResets
		r.standing.set(renewing, true)
		r.setInstalling(now, true)
	case JoinFetch: // the log's head was dropped above it meanwhile
		r.out.Install = append(r.out.Install, InstallStep{Discard: true})
		r.endInstall(now)
	}
	r.pump(now)
}

// startReset begins the log anew when nothing else waits for the disk.
func (r *Replica) startReset() {
	x, d := &r.install, &r.disk
	if x.phase != installResets || !r.standing.may(mayInstall) || d.flying != nil || len(d.queue) > 0 || d.failed != nil {
		return
	}
	state := StateAfter(r.log.shape(), r.log.role.HardState(), &x.d)
	b := BeginAfter(&x.d)
	d.queue = append(d.queue, queued{reset: &b, write: protocol.Write{State: state, First: 1, Last: 0}})
}

// reset says that the log begins after the checkpoint, durably.
func (r *Replica) reset(now protocol.Instant, b *storage.Begin) {
	invariant.Check(r.install.phase == installResets, "the log was reset to %d without an installation", b.Index)
	r.log.tail = &tail{first: b.Index + 1, before: b.Sum, joined: true}
	r.disk.written, r.disk.cut = b.Index, false
	r.fetches.list = nil // of a log that is no more
	r.unreadable.mending.stop()
	r.unreadable.places = nil
	r.apply.reading = false
	r.follow(now, true)
}

// follow makes the role and the state follow an installed checkpoint: the log
// holds its last entry, or was begun anew after it.
func (r *Replica) follow(now protocol.Instant, anew bool) {
	x := &r.install
	d := x.d
	r.log.role.Install(now, protocol.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration, Time: x.time, Anew: anew})
	r.log.commit = max(r.log.commit, d.Index)
	r.apply.adopt(d.Index)
	r.reinstalled()
	r.noteDigest(now, d.Index, d.Digest)
	r.checkpoints.mark, r.checkpoints.digest = d.Index, d.Digest
	r.checkpoints.since, r.checkpoints.at = 0, now
	r.out.event(protocol.EventInstalled, fmt.Sprintf("the checkpoint at %d", d.Index))
	r.endInstall(now)
}

// endInstall forgets the installation.
func (r *Replica) endInstall(now protocol.Instant) {
	r.install = install{}
	r.standing.set(renewing, false)
	r.setInstalling(now, false)
	r.offerKept(now)
}

// giveUpInstall ends an installation that cannot go on. What it has stays with
// the store, which resumes it when it is offered again.
func (r *Replica) giveUpInstall(now protocol.Instant, err error) {
	r.out.event(protocol.EventRefused, fmt.Sprintf("installing the checkpoint at %d: %v", r.install.d.Index, err))
	r.gossip.StopFetch(now)
	r.endInstall(now)
	r.install.retryAt = now.Add(r.hearing.patience())
}
