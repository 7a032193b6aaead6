package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Defaults of Config.
const (
	checkpointBytes = 64 << 20
	checkpointEvery = 10 * time.Minute
	retainEntries   = 10_000
	retainBytes     = 64 << 20
	behindBytes     = 1 << 30
)

// doubtEvery is how long ago the last checkpoint entry may be while states differ and nobody
// knows whose is right, if anything was written since: at the next one that may be over.
const doubtEvery = time.Minute

// checkpoints is what a member knows of its own checkpoints, and of the checkpoint entries
// in the log that say when all members take one.
type checkpoints struct {
	ground
	disk   *disk
	room   interface{ full() bool }
	audit  *audit
	gossip needy

	// kept are the ones that can be used, newest first.
	kept []storage.Manifest
	// The last checkpoint entry that was applied, or checkpoint that the state came from;
	// 0 if there was none. The digest is that of the state there.
	entryAt protocol.Index
	digest  [16]byte
	// since counts the bytes applied after it, and at is when it was applied.
	since int
	at    protocol.Instant
	owed  bool // something was applied between it and the one before, whose digest no entry carries so far
	state int  // bytes of the state, about
	// passed is the last checkpoint entry at which none was taken, since the one before was still being
	// written, and so it is as long as busy says.
	passed protocol.Index
	busy   bool
	// wanted says that an operator waits for a checkpoint of the state, and none was taken.
	wanted bool
	// proposed is the index of the last checkpoint entry that this leader proposed.
	proposed protocol.Index
	// askAt is when a leader without a state proposes one; 0: it has a state.
	askAt   protocol.Instant
	dropped protocol.Index // the last drop that was asked for
	// distance is how many entries lie between the last two checkpoint entries; 0: not known.
	distance protocol.Index
	// held says that the head would be dropped further if nobody needed it.
	held bool
	// grown is how much the log has grown at some indexes, in order, the first of
	// them where the state was at the start unless others took its place, and total
	// how much in all, in bytes, since then.
	grown []growth
	total uint64

	pins pins
}

// needy is where gossip is told what this member has for others, and says what they need.
type needy interface {
	Holds(now protocol.Instant, list []gossip.Holding)
	Needs(now protocol.Instant) []protocol.Index
	Pinned(now protocol.Instant) []protocol.Index
	HasManifest(now protocol.Instant, above protocol.Index) protocol.Index
}

// growth is how many bytes of entries were applied when an index was.
type growth struct {
	at    protocol.Index
	bytes uint64
}

// growthsMax is at how many indexes the bytes are remembered: at sixteen of what
// Config.RetainBytes keeps, and the further below, the fewer.
const growthsMax = 256

// grow counts applied bytes.
func (c *checkpoints) grow(at protocol.Index, bytes, retain int) {
	c.total += uint64(bytes)
	n := len(c.grown)
	if n > 0 && c.total-c.grown[n-1].bytes < uint64(retain/16) {
		return
	}
	if n == growthsMax {
		for k := 1; k < n/4; k++ { // every second one of the older half goes
			c.grown[k] = c.grown[2*k]
		}
		c.grown = slices.Delete(c.grown, n/4, n/2)
	}
	c.grown = append(c.grown, growth{at, c.total})
}

// bytesIn returns about how many bytes of entries lie from an index on and below
// another, rather more; what was there at the start is not counted.
func (c *checkpoints) bytesIn(from, below protocol.Index) uint64 {
	before, upTo := uint64(0), c.total
	for _, g := range slices.Backward(c.grown) {
		if g.at < from {
			before = g.bytes
			break
		}
		if g.at >= below {
			upTo = g.bytes
		}
	}
	return upTo - before
}

// tail returns the lowest index from which on all that was applied has at most so
// many bytes, as far as they were counted: what was there at the start may have any
// number, and is not of the tail.
func (c *checkpoints) tail(bytes int) protocol.Index {
	i, _ := slices.BinarySearchFunc(c.grown, uint64(max(bytes, 0)), func(g growth, bytes uint64) int {
		return cmp.Compare(bytes, c.total-g.bytes)
	})
	if i == len(c.grown) {
		return ^protocol.Index(0)
	}
	return c.grown[i].at + 1
}

// newest returns the index of the newest one that can be used, or 0.
func (c *checkpoints) newest() protocol.Index {
	if len(c.kept) == 0 {
		return 0
	}
	return c.kept[0].Index
}

// start takes what was found at start.
func (c *checkpoints) start(now protocol.Instant, restored OpenedState) {
	c.kept, c.at = restored.Kept, now
	c.grown = []growth{{at: restored.Applied}}
	for i := range c.kept {
		if c.kept[i].Index == restored.Applied {
			c.entryAt, c.digest = c.kept[i].Index, c.kept[i].Digest
		}
	}
}

// Kept says which checkpoints can be used, newest first. The owner calls it
// whenever that has changed: one was taken, or has turned out to be bad.
func (r *Replica) Kept(now protocol.Instant, kept []storage.Manifest) {
	r.checkpoints.keep(now, kept)
	r.pump(now)
}

// Confirmed answers InstallStep.ConfirmedAt.
func Confirmed(r *Replica, now protocol.Instant, kept []storage.Manifest) {
	r.checkpoints.setKept(kept)
	r.pump(now)
}

// keep takes what the store keeps.
func (c *checkpoints) keep(now protocol.Instant, kept []storage.Manifest) {
	if len(kept) > 0 && (len(c.kept) == 0 || kept[0].Index > c.kept[0].Index) {
		d := &kept[0]
		c.out.event(protocol.EventCheckpoint, fmt.Sprintf("kept at %d: %d items, %d bytes", d.Index, d.Items, d.Bytes))
	}
	last := c.confirmed()
	c.setKept(kept)
	if last != 0 && c.confirmed() == 0 {
		c.out.event(protocol.EventCheckpoint, fmt.Sprintf("%s: until the log confirms a newer one, others get none", c.lost(last)))
	}
	c.busy = false
	c.mark()
	if !c.standing.may(mayKeep) {
		c.audit.giveUpBad(kept) // one that was being taken
	}
	c.offer(now)
	c.dropHead(now)
}

// lost says why the last confirmed checkpoint, at an index, is kept no more.
func (c *checkpoints) lost(i protocol.Index) string {
	why := "was found damaged, or is of a state that had diverged"
	if c.room.full() {
		why = "has given way to a newer one, for want of room on the disk"
	}
	return fmt.Sprintf("the checkpoint at %d, the last that the log confirms, %s", i, why)
}

// mark has the store mark which checkpoints the log confirms: the last one of them stays, and the next run
// knows it. Only on a disk without room for the log that grows meanwhile it gives way to one that is not confirmed.
func (c *checkpoints) mark() {
	yields := len(c.kept) == 2 && c.room.full() && !c.audit.confirms(&c.kept[0])
	for i := range c.kept {
		d := &c.kept[i]
		if on := c.audit.confirms(d) && !(yields && i == 1); on != d.Confirmed {
			c.out.Install = append(c.out.Install, InstallStep{ConfirmedAt: d.Index, Confirmed: on})
		}
	}
}

// lacking reports whether the log has confirmed a state of which no checkpoint was taken here. Those whose
// state it was not need one of it: what the log leads them to may be something else again.
func (c *checkpoints) lacking() bool {
	return c.passed == c.entryAt && !c.busy && c.passed > c.newest() && c.audit.confirmations.newest >= c.passed
}

// confirmed returns the index of the newest kept checkpoint that is confirmed, or 0.
func (c *checkpoints) confirmed() protocol.Index {
	for i := range c.kept {
		if c.audit.confirms(&c.kept[i]) {
			return c.kept[i].Index
		}
	}
	return 0
}

// offer tells the flock which checkpoints this member has chunks of.
func (c *checkpoints) offer(now protocol.Instant) {
	var list []gossip.Holding
	for _, d := range c.giveable() {
		list = append(list, gossip.Holding{Index: d.Index, Sum: d.LogSum, Chunks: len(d.Chunks), Manifest: storage.EncodeManifest(*d)})
	}
	c.gossip.Holds(now, list)
}

// giveable returns the checkpoints that others may have, newest first: the kept ones that are
// confirmed, and those of before that others fetch, which were.
func (c *checkpoints) giveable() (list []*storage.Manifest) {
	if !c.standing.may(mayGive) {
		return nil
	}
	for i := range c.kept {
		if c.audit.confirms(&c.kept[i]) {
			list = append(list, &c.kept[i])
		}
	}
	for i := range c.pins.given {
		list = append(list, &c.pins.given[i])
	}
	return list
}

// dropHead gives up the log below the older of two checkpoints.
//
// [S] Never below the newer one alone: if that turns out to be bad, the older
// one and the log above it are what is left. For laggards a tail stays, bounded in
// entries and in bytes. No other member's progress counts, except of one that is far
// behind, installs a checkpoint or catches up from there: what it is about to need
// stays for a bounded time (gossip's) and within Config.BehindBytes. Where the disk
// has no room, nothing stays for others. Nor is anything given up above the last checkpoint that the log
// confirms, unless the disk has no room.
func (c *checkpoints) dropHead(now protocol.Instant) {
	c.held = false
	if len(c.kept) < 2 || !c.standing.may(mayTrim) {
		return
	}
	below := min(c.kept[1].Index+1, c.log.commit+1)
	if entries := protocol.Index(c.cfg.RetainEntries); !c.room.full() {
		below = min(below, c.confirmed()+1, max(c.log.applied-min(c.log.applied, entries)+1, c.tail(c.cfg.RetainBytes)))
	}
	for _, i := range c.gossip.Needs(now) {
		if i < below && i >= c.log.logTerms().FirstIndex() && !c.room.full() && c.bytesIn(i, below) <= uint64(c.cfg.BehindBytes) {
			below, c.held = i, true
			break // the lowest: the others are above it
		}
	}
	if below <= c.log.logTerms().FirstIndex() || below <= c.dropped {
		return
	}
	c.dropped = below
	c.disk.drop(below)
}

// atCheckpoint follows an applied batch, which may end with a checkpoint entry: that carries what
// the leader's state was at the one before. A state in doubt may be kept after all, so its
// checkpoint entries count, but for what this member says of itself.
func (c *checkpoints) atCheckpoint(now protocol.Instant, batch []protocol.Entry, done *Applied) {
	c.since += protocol.RawSize(batch)
	c.grow(batch[len(batch)-1].Index, protocol.RawSize(batch), c.cfg.RetainBytes)
	c.state = done.StateBytes
	last := &batch[len(batch)-1]
	if last.Kind.Confirms() {
		c.since -= len(last.Raw) // it writes nothing: a cluster where nobody writes comes to rest
		c.audit.confirmed(now, last)
		c.mark()
		c.offer(now)
		c.dropHead(now)
	}
	if last.Kind != protocol.EntryCheckpoint {
		return
	}
	m, err := protocol.DecodeCheckpointEntry(last.Data)
	if err == nil && m.Previous != 0 {
		c.audit.compare(now, last.Term, m.Previous, m.Digest)
	}
	if c.entryAt != 0 {
		c.distance = last.Index - c.entryAt
	}
	c.owed = c.since > protocol.RawSize(batch[len(batch)-1:])
	c.entryAt, c.digest, c.since, c.at = last.Index, done.Digest, 0, now
	if c.busy = true; done.Skipped {
		c.passed = last.Index
	}
	if q := &c.standing.quarantine; c.standing.may(mayKeep) {
		c.audit.note(now, last.Index, done.Digest)
	} else {
		q.doubted = keepDigest(q.doubted, digestAt{last.Index, done.Digest})
	}
}

// propose lets a leader say that it is time for a checkpoint: when the log
// since the last one is large, beside the state, or when that was long ago.
func (c *checkpoints) propose(now protocol.Instant, bereft, fetching bool) {
	switch {
	case !c.standing.may(mayApply) || bereft:
		c.proposeToHeal(now, fetching)
		return
	case len(c.kept) == 0 && c.since > 0 && c.isWanted():
		c.proposeToHeal(now, false)
	default:
		c.askAt = 0
	}
	// A digest is compared at the entry after its own. While states differ that one comes although
	// nothing is written: what differs is refused, and there may be nothing else to write.
	owed := c.owed && c.audit.doubts()
	lacking := c.lacking() || c.wanted
	// [S] Above a ruling that is not applied nobody takes a checkpoint: it would push out the one that the others need.
	if c.proposed > c.log.applied || c.audit.imposing() || !owed && c.since == 0 && !lacking {
		return
	}
	if due := c.cfg.CheckpointEvery >= 0 && now >= c.at.Add(c.cfg.CheckpointEvery) || c.audit.doubts() && !c.busy && now >= c.at.Add(doubtEvery); !due && !lacking && c.since < max(c.cfg.CheckpointBytes, c.state/2) {
		return
	}
	entry := protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: c.entryAt, Digest: c.digest})
	// Refused only by an overloaded or a deposed leader: later, or others.
	if i, err := c.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryCheckpoint, Data: entry}}); err == nil {
		c.proposed, c.wanted = i, false
	}
}

// checkpointEntryPause is how many election timeouts a leader waits for a state, or for others to find
// one, before it proposes a checkpoint entry to get one, and between two.
const checkpointEntryPause = 20

// isWanted reports whether an active has lost its state, as far as it has said that it could
// answer nobody as a leader.
func (c *checkpoints) isWanted() bool {
	return slices.ContainsFunc(c.log.lead().Status().Progress, func(p active.Progress) bool { return p.Unfit })
}

// proposeToHeal lets a leader ask for a checkpoint because it has lost its state, or another
// active has and there is none to give. The first counts no bytes, so it would never say that
// it is time; and the log since the last checkpoint entry may stay small for ever.
func (c *checkpoints) proposeToHeal(now protocol.Instant, fetching bool) {
	due := c.askAt != 0 && now >= c.askAt && !fetching
	if c.askAt == 0 || due {
		c.askAt = now.Add(checkpointEntryPause * c.cfg.Active.Election)
	}
	if due {
		// Refused only by an overloaded or a deposed leader: later, or others.
		i, err := c.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})}})
		if err == nil {
			c.audit.confirmations.sought, c.audit.confirmations.soughtIn = i, c.log.lead().Term()
		}
	}
}

// fillIn completes what a leader tells a member below its log's begin. Nothing
// is sent while there is no checkpoint to give: then the log begins at 1, or what is kept
// is about to be confirmed. It is the newest,
// unless as many are being fetched as can be kept (gossip.Core.HasManifest).
func (c *checkpoints) fillIn(now protocol.Instant, begin protocol.Index, e protocol.Envelope, m *protocol.InstallCheckpoint) {
	list := c.giveable()
	if len(list) == 0 || list[0].Index < begin {
		return
	}
	d := list[0]
	above := begin - min(begin, 1)
	if i := c.gossip.HasManifest(now, above); i != 0 && i < d.Index {
		if k := slices.IndexFunc(list, func(d *storage.Manifest) bool { return d.Index == i }); k >= 0 {
			d = list[k]
		}
	}
	m.Manifest = storage.EncodeManifest(*d)
	c.out.Send = append(c.out.Send, Send{Envelope: e})
}

// ChunkRead answers a ReadChunk; an error says that the chunk cannot be had.
func (r *Replica) ChunkRead(now protocol.Instant, x ChunkRead, data []byte, err error) {
	if err != nil {
		data = nil
		if !errors.Is(err, protocol.ErrDirectory) { // that one may pass
			r.checkpoints.spoil(now, x.Index)
		}
	}
	r.gossip.ChunkIs(now, gossip.ChunkRead(x), data)
	r.pump(now)
}
