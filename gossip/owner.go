package gossip

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Confirmed takes a freshness claim from this member's own rounds as leader. It is
// of this member's own history.
func (c *Core) Confirmed(f protocol.Fresh) {
	c.fresh.learn(pair{index: f.Index, sum: f.Sum.Head(), at: f.At, mine: true})
}

// Age returns an upper bound on the age of a state at applied: every write
// acknowledged longer ago is in it. False if nothing is known. It holds for
// the moment that now was read, and the wall clock as SetWallAhead was told. A member
// of another history than the actives' has no age.
func (c *Core) Age(now protocol.Instant, applied protocol.Index) (time.Duration, bool) {
	if c.self.wrong {
		return 0, false
	}
	return c.fresh.age(c.Longest(now), applied)
}

// Source returns how long ago it was true, at the youngest, that this member knew
// of the leader: by its own rounds, or by what others told when it asked. False:
// it never did. A state may be older, while it is brought up to date.
func (c *Core) Source(now protocol.Instant) (time.Duration, bool) {
	_, age, known := c.fresh.newest(c.Longest(now))
	return age, known
}

// Heard returns what live members said of themselves, sorted by id. Members
// that have not been heard are missing.
func (c *Core) Heard() []Heard {
	var out []Heard
	for _, m := range c.members.all {
		if m.known {
			out = append(out, m.heard)
		}
	}
	return out
}

// Refused tells the core that the role found a run not to fit its log. The run
// is fetched again from others, and an active is asked for its log sum.
func (c *Core) Refused(now protocol.Instant, run Run) {
	c.intake.reject(run.Origin)
	if n := len(run.Entries); n > 0 {
		c.pulling.evidence(now, run.Entries[n-1].Index, c.pulling.grace())
	}
	c.doubt.question(now, run.Origin, c.self.LastIndex)
}

// Contradicted says that this member's log is of another history than the actives',
// by an active's word. It stays so until the member is started anew.
func (c *Core) Contradicted(d Divergence) {
	if c.self.wrong {
		return
	}
	d.Holds = c.self.LastIndex
	c.self.wrong, c.self.diverged = true, d.Index
	c.outbox.ready.Diverged = &d
	c.outbox.event(protocol.EventDiverged, d.By, d.Index, d.String())
	c.intake.stop()
	c.pulling.clear()
	c.seek.at = never
	c.doubt.inquiry = inquiry{at: never}
}

// Heed says whom this member believes while it is active: those named, sorted
// by id, or anybody. The list must not be changed afterwards. Until it is told
// it believes anybody.
func (c *Core) Heed(named []protocol.MemberID, anybody bool) {
	c.heed.named, c.heed.anybody = named, anybody
}

// Unheeded returns how much of what others sent was dropped, since the start,
// because this member's log does not name them.
func (c *Core) Unheeded() uint64 { return c.heed.unasked }

// Refusals returns how many frames, answers and manifests were refused
// because of their signature, since the start.
func (c *Core) Refusals() uint64 { return c.trust.refused }

// Answer gives entries that were read from the disk, with their sums, to the
// member that pulls them. See CannotRead for a read that failed.
func (c *Core) Answer(now protocol.Instant, to protocol.MemberID, entries []protocol.Entry) {
	c.serving.answer(now, to, entries)
}

// CannotRead says that the entries from first on, which were to be read for a
// member, cannot be: it is sent to others.
func (c *Core) CannotRead(now protocol.Instant, to protocol.MemberID, first protocol.Index) {
	c.serving.cannotRead(now, to, first)
}

// Needs returns which entries members that are far behind need next, lowest first.
// The owner should keep its log from there on, within bounds of its own: whoever
// has installed a checkpoint finds no use for it where the log that follows is
// gone.
func (c *Core) Needs(now protocol.Instant) []protocol.Index { return c.needs.live(now) }

// Holds tells the core which checkpoints this member has, at most four: it tells
// others of them, describes them and gives their chunks.
func (c *Core) Holds(_ protocol.Instant, list []Holding) { c.giving.hold(list) }

// Pinned returns the checkpoints that are being sent, newest first: by this member
// or by others, who give the rest of what is begun here. The owner should keep
// them: whoever is in the middle of one would have to begin anew. How long one is
// pinned is bounded, with progress and without; its space is the owner's to bound.
func (c *Core) Pinned(now protocol.Instant) []protocol.Index { return c.giving.pinned(now) }

// HasManifest returns the index of the checkpoint that whoever needs one above an
// index is to fetch, 0: there is none. It is the newest; but when so many are
// fetched that no other one could be kept, it is the newest of those.
func (c *Core) HasManifest(now protocol.Instant, above protocol.Index) protocol.Index {
	return c.giving.hasManifest(now, above)
}

// ChunkIs answers a ChunkRead. Nil data means that the chunk is not there (any
// more).
func (c *Core) ChunkIs(now protocol.Instant, read ChunkRead, data []byte) {
	c.giving.chunkIs(now, read, data)
}

// Fetch asks other members for chunks of a checkpoint; it replaces an earlier
// fetch. What arrives is in Ready.Chunks. Until StopFetch no other checkpoint is
// offered, unless all members have given this one up: so the owner calls
// StopFetch when the install is over, well or not.
func (c *Core) Fetch(now protocol.Instant, want Fetching) {
	c.seek.begun()
	c.fetching.begin(now, want)
}

// StopFetch ends a fetch. What is still on its way is ignored.
func (c *Core) StopFetch(now protocol.Instant) {
	if c.fetching.stop() {
		c.seek.at = now.Add(c.cfg.Have) // in case it came to nothing
	}
}

// ChunkAdded answers for a chunk from Ready.Chunks. Not ok means that its bytes
// are not those of the manifest: it is asked for elsewhere, and its sender
// is avoided for a while.
func (c *Core) ChunkAdded(now protocol.Instant, number int, ok bool) {
	c.fetching.added(now, number, ok)
}
