package gossip

import (
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Core is one member's part of the flock: the parts that doc.go draws, and what they
// have in common. It hands each message, each tick and the word of its owner to
// whom it concerns.
//
// Invariant: nothing above self.LastIndex ever leaves the member, except frames that are
// passed on as they came.
type Core struct {
	protocol.WallAhead
	cfg     Config
	rng     *rand.Rand
	members members
	self    standing
	outbox  outbox

	heed  heed
	trust trust

	push   push
	links  links
	tree   tree
	intake intake

	carriers carriers
	presence presence
	digest   haves
	pulling  pulling
	serving  serving
	fresh    freshness
	doubt    doubt

	needs    needs
	seek     seek
	fetching fetching
	giving   giving
}

// New returns a core that knows nobody.
func New(now protocol.Instant, cfg Config, log Log) *Core {
	cfg = cfg.withDefaults()
	c := &Core{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Run)))}
	c.wire(log)
	c.members.byID = make(map[protocol.MemberID]*member)
	c.intake.buffer.bytesMax = cfg.BufferBytesMax
	c.push.flushAt = never
	c.pulling.at = never
	c.doubt.at = never
	c.links.refreshAt = never
	c.carriers.next, c.carriers.tellAt, c.carriers.toldAt = never, never, longAgo
	c.seek.at = never
	c.fetching.at, c.fetching.nobodySince = never, never
	// The first digest comes at a random moment, or members that start
	// together speak together for ever.
	c.digest.at = now.Add(time.Duration(c.rng.Int64N(int64(cfg.Have))))
	return c
}

// wire gives each part what it needs of the others.
func (c *Core) wire(log Log) {
	b := base{&c.cfg, c.rng, &c.self, &c.members, &c.outbox}
	c.outbox.from, c.outbox.self, c.outbox.members = c.cfg.ID, &c.self, &c.members
	c.members = members{cfg: &c.cfg, rng: c.rng, self: &c.self, outbox: &c.outbox}
	c.heed = heed{cfg: &c.cfg, self: &c.self}
	c.trust = trust{cfg: &c.cfg, self: &c.self, members: &c.members, outbox: &c.outbox, intake: &c.intake, links: &c.links}
	c.push = push{base: b, log: log, links: &c.links, trust: &c.trust}
	c.links = links{base: b, intake: &c.intake, announce: &c.presence}
	c.tree = tree{members: &c.members, links: &c.links, intake: &c.intake}
	c.intake = intake{self: &c.self, outbox: &c.outbox}
	c.carriers = carriers{base: b, rng: rand.New(rand.NewPCG(c.cfg.Seed^echoSeed, uint64(c.cfg.Run)))}
	c.digest = haves{
		base: b, clock: &c.WallAhead, carriers: &c.carriers, presence: &c.presence, links: &c.links, heed: &c.heed, trust: &c.trust, fresh: &c.fresh,
	}
	c.presence = presence{
		self: &c.self, clock: &c.WallAhead, intake: &c.intake, fresh: &c.fresh, fetching: &c.fetching, giving: &c.giving,
	}
	c.pulling = pulling{base: b, heed: &c.heed, intake: &c.intake, links: &c.links, tree: &c.tree, seek: &c.seek}
	c.serving = serving{base: b, log: log, needs: &c.needs, trust: &c.trust, announce: &c.presence}
	c.fresh = freshness{self: &c.self, log: log, doubt: &c.doubt}
	c.doubt = doubt{base: b, log: log, heed: &c.heed, trust: &c.trust, intake: &c.intake, verdict: c}
	c.needs = needs{members: &c.members, pins: &c.giving}
	c.seek = seek{base: b, heed: &c.heed, trust: &c.trust, fetching: &c.fetching}
	c.fetching = fetching{base: b, seek: &c.seek}
	c.giving = giving{base: b, needs: &c.needs, trust: &c.trust}
}

// SetPeers tells the core who lives, itself excepted. What it knows of members
// that stay is kept.
func (c *Core) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	c.members.set(peers)
	c.carriers.changed(now)
	c.pulling.forgetStrangers(now)
	c.fetching.forgetStrangers(now)
	c.links.relink(now)
}

// Progress tells the core where its member stands.
func (c *Core) Progress(now protocol.Instant, p Progress) {
	before := c.self.Progress
	c.self.Progress = p
	if p.Lost {
		c.seek.later(now)
	}
	if !c.self.started || p.Role != before.Role || p.Leaderless != before.Leaderless {
		c.self.started = true
		c.becomeRole(now)
	}
	if p.Leader != before.Leader {
		c.links.relink(now)
	}
	c.fresh.applied(p.Applied)
	c.fresh.holds(c.Longest(now), p.LastIndex)
	c.fresh.compareFresh(now)
	c.intake.advance()
	if c.self.follows() {
		if p.LastIndex > before.LastIndex {
			c.links.tell(now)
		}
		c.intake.deliver()
		return
	}
	c.push.pushCommitted(now)
}

// becomeRole starts afresh in a role: history is not pushed, and an active
// takes nothing from the flock unless it is leaderless.
func (c *Core) becomeRole(now protocol.Instant) {
	c.push.done, c.push.flushAt = c.self.LastIndex, never
	c.intake.begin()
	c.pulling.clear()
	c.tree.lessons = lessons{wanted: 1}
	c.links.unlink(now)
}

// Step takes a message from another member. Messages of other kinds than
// gossip's are ignored, and so is everything that makes no sense: what comes
// in was decoded, but not otherwise checked.
func (c *Core) Step(now protocol.Instant, from protocol.MemberID, msg protocol.Message) {
	if from == c.cfg.ID || from.IsZero() {
		return
	}
	switch msg := msg.(type) {
	case *protocol.Frame:
		if streamed(msg) {
			c.pulling.streamed(from)
		}
		c.onFrame(now, from, msg)
	case *protocol.FramePart:
		if f := c.pulling.part(now, msg, from); f != nil {
			c.onFrame(now, from, f)
		}
	case *protocol.Have:
		c.onHave(now, from, msg)
	case *protocol.Want:
		if msg.Eager {
			c.links.onGraft(now, from)
		}
		c.serving.onWant(now, from, msg)
	case *protocol.Busy:
		c.onBusy(now, from, msg)
	case *protocol.SumQuestion:
		c.doubt.onSumQuestion(now, from, msg)
	case *protocol.SumAnswer:
		c.doubt.onSumAnswer(now, from, msg)
	case *protocol.ManifestWant:
		c.giving.onManifestWant(now, from, msg)
	case *protocol.Manifest:
		c.seek.onManifest(now, from, msg)
	case *protocol.ChunkWant:
		c.giving.onChunkWant(now, from, msg)
	case *protocol.Chunk:
		c.fetching.onChunk(now, from, msg)
	case *protocol.Echo:
		c.carriers.onEcho(now, from, msg)
	case *protocol.EchoAnswer:
		c.carriers.onEchoAnswer(now, from, msg)
	case *protocol.StreamEcho:
		c.carriers.onStreamEcho(now, from, msg)
	case *protocol.StreamEchoAnswer:
		c.carriers.onStreamEchoAnswer(now, from, msg)
	case *protocol.Prune:
		c.links.onPrune(now, from)
	case *protocol.Graft:
		c.links.onGraft(now, from)
	}
}

// onFrame takes a frame: whoever sees one for the first time passes it on,
// whether or not it can check it yet. Duplicates are told by index.
func (c *Core) onFrame(now protocol.Instant, from protocol.MemberID, f *protocol.Frame) {
	if !sane(f) {
		return
	}
	if c.self.follows() && !c.heed.heeds(from) {
		c.heed.unasked++
		return
	}
	if c.self.follows() && !c.trust.genuine(now, from, f) {
		return
	}
	c.members.learnHolders(from, f)
	if !c.self.follows() {
		return
	}
	pulled := f.Flags&protocol.FramePulled != 0
	asked := pulled && c.pulling.asked(from, f.Range())
	if !asked && c.doubt.avoided(now, f.Origin) {
		return
	}
	r := f.Range()
	fresh := c.intake.note(r)
	if !pulled && c.links.treed() {
		c.pulling.late.came(now, f, r.Last > c.pulling.known)
		c.tree.arrived(now, from, f, fresh)
	}
	inPieces := asked && c.pulling.inPieces(from)
	if fresh && !inPieces && (!pulled || asked && c.links.hands(f)) && int(f.Hop)+1 < c.push.hopLimit() {
		passed := *f
		passed.Hop++
		if pulled {
			passed.Flags |= protocol.FrameTaint
		}
		c.push.spread(now, &passed, from)
	}
	if !c.self.takes() {
		return
	}
	c.intake.add(from, f)
	c.pulling.evidence(now, r.Last, c.pulling.grace())
	if asked {
		c.pulling.weigh(f.Entries)
		c.pulling.pulled(now, from, f)
	}
}

// onHave takes what another member says of itself, and answers if it asks. Each part takes
// from it what it is about.
func (c *Core) onHave(now protocol.Instant, from protocol.MemberID, h *protocol.Have) {
	m := c.members.get(from)
	if h.AnswerTo != 0 {
		c.digest.answered(now, from, m, h)
	}
	if m != nil && h.LastIndex <= protocol.IndexMax {
		m.known = true
		m.first, m.lastIndex, m.likely = h.First, h.LastIndex, 0
		m.heard = Heard{ID: from, Applied: h.Applied, LastIndex: h.LastIndex, Diverged: h.Diverged, At: now}
		m.heard.Age, m.heard.AgeKnown = m.claims.age(now, h)
		c.fetching.learnCheckpoints(now, m, h.Checkpoints)
		c.needs.learn(now, m, h.Behind)
		c.pulling.denied(now, m)
		if c.heed.heeds(from) {
			c.pulling.evidence(now, h.LastIndex, c.pulling.graceOfDigests())
		}
	}
	if h.Nonce != 0 && h.AnswerTo == 0 && c.members.mayAnswer(now, from) {
		a := c.presence.have(now)
		a.AnswerTo = h.Nonce
		c.trust.signFreshness(a)
		c.outbox.send(from, a)
	}
}

// onBusy leaves a member alone for as long as it asks, within reason. (The
// others that it names are chosen from what they say themselves.)
func (c *Core) onBusy(now protocol.Instant, from protocol.MemberID, b *protocol.Busy) {
	m := c.members.get(from)
	if m == nil {
		return
	}
	pause := min(max(time.Duration(b.RetryAfter), silenceMin), busyMax)
	c.seek.refused(now, m, pause)
	c.fetching.refused(now, m, pause)
	c.links.graftRefused(now, m, pause)
	c.pulling.refused(now, m, pause)
}

// Tick tells the core that time passed.
func (c *Core) Tick(now protocol.Instant) {
	c.intake.again()
	if now >= c.push.flushAt {
		c.push.flush(now)
	}
	if now >= c.digest.at {
		c.digest.sendAll(now)
	}
	if now >= c.carriers.next {
		c.carriers.tick(now)
	}
	c.pulling.expirePulls(now)
	if now >= c.pulling.at {
		c.pulling.pull(now)
	}
	if now >= c.doubt.at {
		c.doubt.askSum(now)
	}
	if now >= c.links.refreshAt {
		c.links.refresh(now)
	}
	c.fetching.expireAsks(now)
	if now >= c.seek.at {
		c.seek.step(now)
	}
}

// Deadline returns when Tick is wanted, at the latest.
func (c *Core) Deadline() protocol.Instant {
	return min(c.push.flushAt, c.digest.at, c.carriers.next, c.pulling.at, c.pulling.expiry(), c.doubt.at,
		c.links.refreshAt, c.seek.at, c.fetching.at, c.fetching.expiry())
}

// HasReady reports whether Ready would say anything.
func (c *Core) HasReady() bool {
	r := &c.outbox.ready
	return len(r.Messages) > 0 || len(r.Streamed) > 0 || len(r.Runs) > 0 || len(r.Reads) > 0 || len(r.Events) > 0 || r.Diverged != nil || r.Prove ||
		r.Offer != nil || r.Led != nil || len(r.Chunks) > 0 || len(r.ChunkReads) > 0
}

// Ready returns everything since the last call.
func (c *Core) Ready() Ready {
	out := c.outbox.ready
	c.outbox.ready = Ready{}
	return out
}
